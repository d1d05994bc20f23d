# A store that knows who may write: store.sh FOLDER LINE appends a line to FOLDER/data, unless an attempt with a higher
# CAIRN_FENCE has written before; then it ends with 75. The lock makes looking and writing one thing. Whatever is not as it
# should be means no.
test -n "$CAIRN_FENCE" || exit
exec 9>> "$1/lock" && flock 9 || exit
last=$(cat "$1/fence" 2> /dev/null || echo 0)
if ! test "$CAIRN_FENCE" -ge "$last"; then
  echo "refused: the fence is $CAIRN_FENCE, and $last has written" >&2
  exit 75
fi
echo "$CAIRN_FENCE" > "$1/fence.new" && mv "$1/fence.new" "$1/fence" && echo "$CAIRN_FENCE $2" >> "$1/data"
