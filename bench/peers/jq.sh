# What a shell script does.
path=$1 n=$2 value=$3
echo ready
read -r until
i=0 waits=
now() { date +%s%3N; }
began=$(now)
while [ "$began" -lt "$until" ]; do
	flock "$path.lock" sh -c 'jq --argjson v "$2" ".added[\"$3\"] = (\$v | .i = $4)" "$1" >"$1.tmp.$$" && sync "$1.tmp.$$" && mv "$1.tmp.$$" "$1"' sh "$path" "$value" "w$n-$((i % 50))" "$i" || exit
	end=$(now)
	waits="$waits,$(((end - began) * 1000))"
	began=$end
	i=$((i + 1))
done
echo "{\"ops\": $i, \"waits\": [${waits#,}]}"
