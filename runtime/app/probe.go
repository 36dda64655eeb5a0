package app

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// probeTimeout bounds one round of questions; probeOthers how long the
	// rest may take once somebody has answered.
	probeTimeout = time.Second
	probeOthers  = 200 * time.Millisecond
	probesAtOnce = 16
	// probeRest and maxProbeRest bound the wait for the rest of an answer.
	probeRest    = 100 * time.Millisecond
	maxProbeRest = 64 << 10
)

// An answer is what a port was found to speak.
type answer uint8

const (
	answersNothing answer = iota
	answersHTTP1
	answersHTTP2
)

// question is the request for RFC 9110 §9.3.7's "ping": OPTIONS of no resource.
// No handler of the app is meant by it, so that it changes nothing.
const question = "OPTIONS * HTTP/1.1\r\nHost: %h\r\nUser-Agent: pillion\r\nConnection: close\r\n\r\n"

// greeting is a client's HTTP/2 preface with empty SETTINGS (RFC 9113 §3.4).
const greeting = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// frameSettings is the type of the first frame of an HTTP/2 server.
const frameSettings = 4

// ask finds out what answers on port.
func ask(ctx context.Context, p *place, hosts []string, port uint16) answer {
	for _, host := range hosts {
		at := net.JoinHostPort(host, strconv.Itoa(int(port)))
		if p.protocol == protoHTTP || p.protocol == protoHTTPS {
			if got := askOnce(ctx, p, at, strings.Replace(question, "%h", at, 1)); got != answersNothing {
				return got
			}
		}
		if got := askOnce(ctx, p, at, greeting); got == answersHTTP2 {
			return got
		}
	}
	return answersNothing
}

// askOnce asks one question on a connection of its own.
func askOnce(ctx context.Context, p *place, at, words string) answer {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		return answersNothing
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() {
		stop()
		_ = c.Close() // we have what we wanted, or will not get it
	}()
	if p.secure() {
		protocols := []string{"http/1.1"}
		if words == greeting {
			protocols = []string{"h2"}
		}
		//nolint:gosec // nothing is sent but the question
		c = tls.Client(c, &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, NextProtos: protocols})
	}
	_ = c.SetDeadline(time.Now().Add(probeTimeout)) // fails only if closed
	if _, err := io.WriteString(c, words); err != nil {
		return answersNothing
	}
	var head [9]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return answersNothing
	}
	switch {
	case strings.HasPrefix(string(head[:]), "HTTP/1."):
		hearOut(c)
		return answersHTTP1
	case head[0] == 0 && head[3] == frameSettings && head[4]&^1 == 0 && head[5]|head[6]|head[7]|head[8] == 0:
		return answersHTTP2
	default:
		return answersNothing
	}
}

// hearOut reads the rest of an answer that is not needed. To close with it
// unread would reset the connection, and simple servers print a traceback for
// a client that does.
func hearOut(c net.Conn) {
	_ = c.SetReadDeadline(time.Now().Add(probeRest)) // fails only if closed
	_, _ = io.CopyN(io.Discard, c, maxProbeRest)     // what does not come is not missed
}

// debuggers are processes whose sockets are never the app's.
var debuggers = []string{"dlv", "debugpy", "gdbserver", "lldb-server", "rdbg", "vsdbg", "netcoredbg"}

// debugPorts are where debuggers within the app's own process listen unless
// told otherwise. They must not even be asked: a Java VM takes one connection
// only, and a node inspector answers HTTP.
var debugPorts = []struct {
	port    uint16
	runtime []string
}{
	{5678, []string{"python", "pypy", "uvicorn", "gunicorn", "flask", "django"}},
	{9229, []string{"node", "bun", "deno", "npm", "nodejs", "next-server"}},
	{5005, []string{"java", "kotlin", "scala"}},
	{2345, []string{"dlv", "__debug_bin"}},
}

// debugFlags are options that name a debugger's port, or switch one on.
var debugFlags = []string{"--inspect", "-agentlib:jdwp", "-Xrunjdwp", "debugpy"}

// isDebugger reports whether the socket is a debugger's, by its process, its
// port, or the port's being named by a debugger's option.
func isDebugger(s Socket) bool {
	name := strings.ToLower(path.Base(s.Name))
	if slices.Contains(debuggers, name) {
		return true
	}
	port := s.Addr.Port()
	for _, d := range debugPorts {
		if d.port == port && hasPrefix(name, d.runtime) {
			return true
		}
	}
	words := strings.Fields(s.Command)
	for i, word := range words {
		for _, flag := range debugFlags {
			if strings.Contains(word, flag) && namesPort(words[i:min(i+3, len(words))], port) {
				return true
			}
		}
	}
	return false
}

// hasPrefix reports whether name begins with one of the prefixes: python3.12
// is a python.
func hasPrefix(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// namesPort reports whether one of the words ends with the port, as
// --inspect=0.0.0.0:9230, address=*:5006 and --listen 5679 do.
func namesPort(words []string, port uint16) bool {
	number := strconv.Itoa(int(port))
	return slices.ContainsFunc(words, func(word string) bool {
		rest, found := strings.CutSuffix(word, number)
		return found && (rest == "" || strings.ContainsAny(rest[len(rest)-1:], ":="))
	})
}

// builders are programs that make an app before it runs, and wrappers those
// that only wait for what they start.
var (
	builders = []string{
		"go", "compile", "link", "asm", "cgo", "gcc", "cc", "cc1", "cc1plus", "g++", "clang", "as", "ld", "collect2",
		"cargo", "rustc", "javac", "mvn", "gradle", "tsc", "make", "ninja", "cmake", "msbuild", "vbcscompiler", "git",
	}
	wrappers = []string{"sh", "bash", "dash", "zsh", "fish", "env", "npm", "npx", "yarn", "pnpm", "uv", "poetry", "time"}
)

// isBuilding reports whether the process tree is one that makes the app: at
// least one builder, and nothing that could be the app itself.
func isBuilding(names []string) bool {
	building := false
	for _, name := range names {
		name = strings.ToLower(strings.TrimSuffix(path.Base(name), ".exe"))
		switch {
		case slices.Contains(builders, name):
			building = true
		case !slices.Contains(wrappers, name):
			return false
		}
	}
	return building
}
