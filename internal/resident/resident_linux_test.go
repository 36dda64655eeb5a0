package resident

import (
	"reflect"
	"strings"
	"testing"
)

// The program's own pages leave its memory, and it goes on.
func TestTrim(t *testing.T) {
	clean := func() (kib int) {
		for _, m := range program() {
			if m.anonymous == 0 {
				kib += m.rss
			}
		}
		return kib
	}
	before := clean()
	Trim()
	after := clean()
	t.Logf("%d KiB before, %d KiB after", before, after)
	if before == 0 || after >= before {
		t.Errorf("of %d KiB of the program %d are in memory after Trim", before, after)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	const smaps = `00400000-0127e000 r-xp 00000000 fe:00 10191253                           /opt/my tools/pillion
Size:              14840 kB
Rss:               10988 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
0230d000-023cb000 rw-p 01f0d000 fe:00 10191253                           /opt/my tools/pillion (deleted)
Rss:                 760 kB
Anonymous:           736 kB
7ffd2b9f4000-7ffd2b9f6000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   8 kB
c000000000-c000800000 rw-p 00000000 00:00 0 
`
	want := []mapping{
		{from: 0x400000, to: 0x127e000, perms: "r-xp", file: "/opt/my tools/pillion", rss: 10988},
		{from: 0x230d000, to: 0x23cb000, perms: "rw-p", file: "/opt/my tools/pillion (deleted)", rss: 760, anonymous: 736},
		{from: 0x7ffd2b9f4000, to: 0x7ffd2b9f6000, perms: "r-xp", rss: 8, anonymous: -1},
		{from: 0xc000000000, to: 0xc000800000, perms: "rw-p", anonymous: -1},
	}
	if got := parse(strings.NewReader(smaps)); !reflect.DeepEqual(got, want) {
		t.Errorf("parsed %+v\nwant   %+v", got, want)
	}
	if got := parse(strings.NewReader("Rss: 1 kB\nnonsense\n")); len(got) != 0 {
		t.Errorf("parsed %+v of fields without a mapping", got)
	}
}
