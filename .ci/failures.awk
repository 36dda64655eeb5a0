# Reads what `go test -v` says of many packages, and prints of each that failed
# what is worth reading: what its tests said and, if it ran out of time, which
# of them were running and where our goroutines were. Every part has a bound, so
# that no package hides another.

BEGIN { max_lines = 300; max_goroutines = 80; max_frames = 60 }

# Results end a package's lines.
/^(ok|\?) +?\t/ { forget(); next }
/^FAIL\t/ { report($0); forget(); next }
/^FAIL$|^PASS$|^exit status [0-9]+$/ { next }

# What scripts/test says, such as what is missing.
/^test: / { failed = failed $0 "\n"; next }

# The goroutines of a package that ran out of time, one paragraph each.
/^panic: test timed out/ { late = heading = 1 }
heading { say($0); if ($0 == "") heading = 0; next }
late && $0 == "" { end_goroutine(); next }
late { if (frames++ < max_frames) goroutine = goroutine "\n" $0; next }

# A test's name counts only if it says something.
/^[ \t]*=== / { name = $0; next }
/^[ \t]*--- (PASS|SKIP)/ || $0 == "" { next }
{ if (name != "") { say(name); name = "" } say($0) }

END {
  end_goroutine()
  if (lines) report("FAIL\t(the log ends here)")
  printf "\n%s", failed
}

function say(line) { said[lines++] = line }

function forget() {
  lines = late = heading = shown = 0
  name = goroutine = stacks = ""
  split("", seen)
}

# end_goroutine keeps a goroutine that is in our code, once of each kind; those
# of tests that wait for their turn say nothing.
function end_goroutine(  kind) {
  kind = goroutine
  gsub(/goroutine [0-9]+|0x[0-9a-f]+|, [0-9]+ minutes/, "", kind)
  if (goroutine ~ /pillion/ && goroutine !~ /testing\.\(\*T\)\.Parallel/ && !seen[kind]++ && shown++ < max_goroutines)
    stacks = stacks goroutine "\n"
  goroutine = ""
  frames = 0
}

function report(result,  i) {
  end_goroutine()
  print "\n== " result
  failed = failed result "\n"
  i = lines > max_lines ? lines - max_lines : 0
  if (i) print "… after " i " other lines"
  for (; i < lines; i++) print said[i]
  for (i = 0; i < lines; i++)
    if (said[i] ~ /^ *--- FAIL|^\t\tTest.* \([0-9hms]+\)$/) failed = failed said[i] "\n"
  if (late) print stacks
  if (shown > max_goroutines) print "… and " shown - max_goroutines " other goroutines"
}
