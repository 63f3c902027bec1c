#!/bin/sh
# torture.sh BIN DIR runs the spool's torture tests with the test programs that make
# torture built in the folder BIN, on file systems made in DIR. It needs root and loop
# devices. Two parts run at a time; their logs are BIN/*.log. It fails if a part fails
# or skips a test.
set -eu
bin=$(cd "$1" && pwd) dir=$2/bester-torture
cd "$(dirname "$0")" # tests find their files from here
rm -f "$bin"/*.log "$bin"/failed
began=$(date +%s)

# part NAME WHAT COMMAND... runs one part.
part() {
	name=$1 what=$2 from=$(date +%s)
	shift 2
	end=ok
	"$@" -test.v -test.timeout 30m >"$bin/$name.log" 2>&1 || end=FAILED
	if grep -aqE -e '--- SKIP|no tests to run' "$bin/$name.log"; then end=FAILED; fi
	printf '%-7s%4d s  %s\n' "$end" $(($(date +%s) - from)) "$what"
	if [ $end = FAILED ]; then
		echo "$what" >>"$bin/failed"
		grep -aE '_test.go:|--- (FAIL|SKIP)|^panic|no tests' "$bin/$name.log" | cut -c 1-300 | tail -n 15
	fi
}

loop() {
	part "$@" -spool.loop "$dir"
}

echo "about 15 minutes; details in $bin/*.log"
loop loopfs 'loop devices and ext4 work here' "$bin/loopfs.test" -test.run TestFS
[ ! -e "$bin/failed" ] || exit 1

(
	part cuts 'power cuts: 20,000 states' "$bin/spool.test" -test.run PowerCut -spool.cuts 20000
	part model 'random operations beside a model: 1,000,000' "$bin/spool.test" -test.run TestModel -spool.ops 1000000
	part damage 'damaged files: 10,000' "$bin/spool.test" -test.run TestDamage -spool.damage 10000
	part armv6 'random operations beside a model, ARMv6 emulated: 1,000,000' qemu-arm-static "$bin/spool.armv6.test" -test.run TestModel -spool.ops 1000000
) &
loop kills 'kill -9 under load on ext4: 1,000' "$bin/spool.test" -test.run 'TestKill$' -spool.kills 1000
loop outages 'disks full, read-only and gone, under load: 21 kinds, 10 times each' "$bin/spool.test" -test.run TestLoopOutages -spool.outages 10
loop card 'bytes that the card writes, journal included' "$bin/spool.test" -test.run TestLoopCard
loop open 'a million records opened from a cold disk' "$bin/spool.test" -test.run TestLoopOpen
loop telemetry 'telemetry: a day in 86 s, and 86 s of a day' "$bin/spool.test" -test.run TestLoopTelemetry -spool.day 86400ms
wait
rmdir "$dir" 2>/dev/null || true
if [ -e "$bin/failed" ]; then
	echo "FAILED: $(wc -l <"$bin/failed") of the parts"
	exit 1
fi
echo "all ok, in $((($(date +%s) - began) / 60 + 1)) minutes"
