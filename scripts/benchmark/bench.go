package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const loopback = "127.0.0.1"

//go:embed files
var files embed.FS

// A bench is one run of the program: what it built and started.
type bench struct {
	o       options
	work    string // folder for everything, gone afterwards
	self    string // our own binary, which is also the app and the load
	pillion string
	lua     string // wrk's script
	certs   string // folder of HAProxy's certificates
	homes   int

	processes []*process
}

// newBench makes what every measurement needs.
func newBench(ctx context.Context, o options, work string) (*bench, error) {
	b := &bench{o: o, work: work, lua: filepath.Join(work, "load.lua"), certs: filepath.Join(work, "certs")}
	if err := b.prepare(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) prepare(ctx context.Context) error {
	if runtime.GOOS != "linux" {
		return errors.New("the figures are read from /proc, which only Linux has")
	}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if err := b.extract("load.lua", b.lua); err != nil {
		return err
	}
	if err := makeCertificates(b.certs, time.Now()); err != nil {
		return err
	}
	if b.o.pillion != "" {
		b.pillion, err = filepath.Abs(b.o.pillion)
		return err
	}
	say("building pillion")
	b.pillion = filepath.Join(b.work, "pillion")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", b.pillion, ".") //nolint:gosec // our own folder
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build pillion: %w\n%s", err, out)
	}
	return nil
}

// extract writes an embedded file.
func (b *bench) extract(name, to string) error {
	text, err := files.ReadFile("files/" + name)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600) //nolint:gosec // in our own folder
}

// close ends everything that was started.
func (b *bench) close() { b.stopFrom(0) }

// stopFrom ends what was started after the first n, the last first, all at
// once.
func (b *bench) stopFrom(n int) {
	ended := make(chan struct{}, len(b.processes))
	for _, p := range b.processes[n:] {
		go func() {
			p.stop()
			ended <- struct{}{}
		}()
	}
	for range b.processes[n:] {
		<-ended
	}
	b.processes = b.processes[:n]
}

// keep takes a process that was started into our care.
func (b *bench) keep(p *process, err error) (*process, error) {
	if err == nil {
		b.processes = append(b.processes, p)
	}
	return p, err
}

// say tells the person how far we are; the answer goes to standard output.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// freePorts finds ports that nobody has now. Whoever gets one binds it a
// moment later.
func freePorts(ctx context.Context, n int) ([]string, error) {
	var lc net.ListenConfig
	ports := make([]string, n)
	for i := range ports {
		ln, err := lc.Listen(ctx, "tcp", loopback+":0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() //nolint:errcheck // nothing was done with it
		if _, ports[i], err = net.SplitHostPort(ln.Addr().String()); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

// output is what a command says in one line; empty if it cannot be had.
func output(ctx context.Context, command ...string) string {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput() //nolint:gosec // ours
	if err != nil && len(out) == 0 {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
