# A store that knows who may write: store.sh FOLDER LINE appends a line to FOLDER/data, unless an attempt with a higher
# CAIRN_FENCE has written before. The lock makes looking and writing one thing.
exec 9>> "$1/lock"
flock 9
last=$(cat "$1/fence" 2>/dev/null || echo 0)
if test "$CAIRN_FENCE" -lt "$last"; then
  echo "refused: fence $CAIRN_FENCE comes after $last" >&2
  exit 75
fi
echo "$CAIRN_FENCE" > "$1/fence.new" && mv "$1/fence.new" "$1/fence" && echo "$CAIRN_FENCE $2" >> "$1/data"
