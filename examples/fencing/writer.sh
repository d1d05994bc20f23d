# The first attempt writes, and is lost. The second one writes. Then the first one, on a machine that nobody reaches and which
# lives, writes once more: here the second one does that for it.
store=$1 folder=$2
write() { /bin/sh -c "$store" store.sh "$folder" "$1"; }
mkdir -p "$folder"
if test "$CAIRN_ATTEMPT" = 1; then
  echo "$CAIRN_FENCE" > "$folder/first"
  write "first attempt"
  exit 1
fi
write "second attempt" || exit
(CAIRN_FENCE=$(cat "$folder/first") && write "first attempt, late")
case $? in
0) echo late_write=accepted ;;
75) echo late_write=refused ;;
*) exit 1 ;;
esac >> "$CAIRN_OUTPUT"
