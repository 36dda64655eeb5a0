# Reads what `go test -v` says of many packages, and prints of each that failed
# what is worth reading: what its failing tests said and, if it ran out of time,
# which were running and where our goroutines were. Every part has a bound, so
# that no package hides another.

BEGIN { max_lines = 300; max_goroutines = 80; max_frames = 60; forget() }

# Results end a package's lines.
/^(ok|\?) +?\t/ { forget(); next }
/^FAIL\t/ { report($0); forget(); next }
/^FAIL$|^PASS$|^exit status [0-9]+$/ { next }

# What scripts/test says, such as what is missing.
/^test: / { failed = failed $0 "\n"; next }

# The goroutines of a package that ran out of time, one paragraph each.
/^panic: test timed out/ { late = heading = 1 }
heading { if ($0 ~ /^\t\tTest/) bad[$1] = 1; say("", $0); if ($0 == "") heading = 0; next }
late && $0 == "" { end_goroutine(); next }
late { if (frames++ < max_frames) goroutine = goroutine "\n" $0; next }

# A race is worth reading, whoever's it is.
/^==================$/ { race = !race; say("", $0); next }
race { say("", $0); next }

# Whose the next lines are, and how a test ended.
/^[ \t]*=== [A-Z]+ +/ { name = $3; next }
/^[ \t]*--- FAIL: / { bad[$3] = 1; say("", $0); next }
/^[ \t]*--- (PASS|SKIP)/ || $0 == "" { next }
{ say(name, $0) }

END {
  end_goroutine()
  if (lines) report("FAIL\t(the log ends here)")
  printf "\n%s", failed
}

function say(whose, line) { said[lines] = line; by[lines++] = whose }

function forget() {
  lines = late = heading = shown = race = 0
  name = goroutine = stacks = ""
  split("", seen)
  split("", bad)
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

function report(result,  i, from, worth, whose) {
  end_goroutine()
  print "\n== " result
  failed = failed result "\n"
  for (i = 0; i < lines; i++) if (by[i] == "" || by[i] in bad) worth++
  from = worth > max_lines ? worth - max_lines : 0
  if (from) print "… after " from " other lines"
  for (i = 0; i < lines; i++) {
    if (!(by[i] == "" || by[i] in bad) || from-- > 0) continue
    if (by[i] != whose && by[i] != "") print "=== " by[i]
    whose = by[i]
    print said[i]
  }
  for (i = 0; i < lines; i++)
    if (said[i] ~ /^ *--- FAIL|^\t\tTest.* \([0-9hms]+\)$/) failed = failed said[i] "\n"
  if (late) print stacks
  if (shown > max_goroutines) print "… and " shown - max_goroutines " other goroutines"
}
