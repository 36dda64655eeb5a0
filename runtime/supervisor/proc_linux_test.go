package supervisor

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestStatNamesMayHoldAnything(t *testing.T) {
	t.Parallel()
	const rest = " S 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0"
	for _, name := range []string{"sh", "a) S 1 1", "((", ") ", ""} {
		got, ok := parseStat(5, []byte("5 ("+name+")"+rest))
		want := stat{pid: 5, ppid: 7, session: 9, state: 'S', name: name, start: 4242}
		if !ok || got != want {
			t.Errorf("name %q is read as %+v, %v; want %+v", name, got, ok, want)
		}
	}
	for _, line := range []string{"", "5", "5 (sh", "5 )sh(", "5 (sh) S 1"} {
		if got, ok := parseStat(5, []byte(line)); ok {
			t.Errorf("%q is read as %+v", line, got)
		}
	}
	if s, ok := readStat(os.Getpid()); !ok || s.ppid != os.Getppid() {
		t.Errorf("our own stat is read as %+v", s)
	}
}

func TestAddressesOfProc(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"00000000:0050":                         "0.0.0.0:80",
		"00000000000000000000000001000000:1F90": "[::1]:8080",
		"00000000000000000000000000000000:0001": "[::]:1",
		"0000000000000000FFFF00000100007F:1F90": "127.0.0.1:8080",
	} {
		got, ok := parseAddr(text)
		if !ok || got != netip.MustParseAddrPort(want) {
			t.Errorf("parseAddr(%s) = %v, %v, want %s", text, got, ok, want)
		}
	}
}

func FuzzProc(f *testing.F) {
	f.Add("5 (sh) S 7 8 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0")
	f.Add("  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 12345 1 0")
	f.Fuzz(func(t *testing.T, line string) {
		if s, ok := parseStat(1, []byte(line)); ok && !strings.Contains(line, "("+s.name+")") {
			t.Errorf("%q has the name %q", line, s.name)
		}
		if l, _, ok := parseListener([]byte(line)); ok && (!l.addr.IsValid() || !strings.Contains(line, " "+stateListen+" ")) {
			t.Errorf("%q is a listener at %v", line, l.addr)
		}
	})
}

// What a terminal shows and what is kept differ only in carriage returns
// before line feeds, wherever the chunks end.
func FuzzCarriageReturns(f *testing.F) {
	f.Add("a\r\nb\r\r\nc\rd\r", uint8(2))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		var kept strings.Builder
		l := &lineLog{w: &kept}
		for rest := text; rest != ""; {
			n := min(int(size)+1, len(rest))
			if m, err := l.Write([]byte(rest[:n])); m != n || err != nil {
				t.Fatalf("Write = %d, %v", m, err)
			}
			rest = rest[n:]
		}
		l.flush()
		want := strings.ReplaceAll(text, "\r\n", "\n")
		if kept.String() != want {
			t.Errorf("%q in chunks of %d is kept as %q, want %q", text, int(size)+1, kept.String(), want)
		}
		if got := string(unCR([]byte(text))); got != want {
			t.Errorf("unCR(%q) = %q, want %q", text, got, want)
		}
	})
}

func TestTheKernelAndItsTablesSayTheSame(t *testing.T) {
	t.Parallel()
	var inodes []uint64
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ln.Close() }()
		file, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		inodes = append(inodes, info.Sys().(*syscall.Stat_t).Ino)
	}
	asked, err := askKernel()
	if err != nil {
		t.Fatal(err)
	}
	read, err := readTables("/proc/self/net/")
	if err != nil {
		t.Fatal(err)
	}
	for _, inode := range inodes {
		if asked[inode] != read[inode] || !asked[inode].addr.IsValid() {
			t.Errorf("the kernel says %v, its tables %v", asked[inode], read[inode])
		}
	}
}
