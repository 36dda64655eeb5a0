// Command benchmark measures two pillion sidecars beside two hops of HAProxy
// with mutual TLS, and beside nothing at all. scripts/bench builds and runs it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/pillion-dev/pillion/scripts/internal/grpcload"
	"github.com/pillion-dev/pillion/scripts/internal/smallapp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := dispatch(ctx, os.Args[1:])
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: stopped")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch is the program without the exit. Its first two words are for the
// processes it starts of itself.
func dispatch(ctx context.Context, args []string) error {
	if len(args) == 2 {
		switch args[0] {
		case "app":
			return runApp(ctx, args[1])
		case "load":
			return runLoad(ctx, args[1])
		}
	}
	work, err := workFolder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // there is nobody left to tell
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, o, work)
	if err != nil {
		return err
	}
	defer b.close()
	switch o.what {
	case whatGrowth:
		return b.growth(ctx)
	case whatProfile:
		return b.profile(ctx)
	}
	return b.compare(ctx)
}

// workFolder is where everything is that a run leaves behind: the folder this
// program was built in, or a new one. It is removed at the end.
func workFolder() (string, error) {
	if folder := os.Getenv("PILLION_BENCH_WORK"); folder != "" {
		return folder, nil
	}
	return os.MkdirTemp("", "pillion-bench-")
}

// runApp is the small app on a port of this machine.
func runApp(ctx context.Context, port string) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(loopback, port))
	if err != nil {
		return err
	}
	return smallapp.Serve(ctx, ln)
}

// runLoad sends the load that text says and prints the result. One core is
// what wrk has, too.
func runLoad(ctx context.Context, text string) error {
	runtime.GOMAXPROCS(1)
	var l grpcload.Load
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return err
	}
	r, err := grpcload.Run(ctx, l)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
