/returns/ { n += $1 } END { print "n=" n }
