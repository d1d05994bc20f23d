who = 
fail = true
