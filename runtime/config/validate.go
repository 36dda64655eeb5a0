package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/near"
	"github.com/pillion-dev/pillion/tls/identity"
)

// What the words of a setting may be.
var (
	protocols = []string{"http", "https", "h2c", "grpc", "grpcs"}
	sources   = []string{"local", "mdns", "static"}
	levels    = []string{"debug", "info", "warn", "error"}
	engines   = []string{"fast", "standard"}
)

// maxGrace bounds the waits: longer is a mistake with the unit.
const maxGrace = 24 * time.Hour

// Validate returns everything that is wrong with c, not just the first thing:
// joined *apperr.Errors. It looks at files that were named, and opens no port.
func (c Sidecar) Validate() error {
	var errs []error
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	add(marked("--app-id", identity.CheckOwnAppID(c.AppID)))
	add(marked("--namespace", identity.CheckNamespace(c.Namespace)))
	add(word("--app-protocol", c.AppProtocol, protocols))
	add(word("--log-level", c.LogLevel, levels))
	add(word("--engine", c.Engine, engines))
	add(checkReadBuffer(c.ReadBuffer))
	for _, s := range c.Discovery {
		add(word("--discovery", s, sources))
	}
	for _, p := range c.Peers {
		add(marked("--peer", checkPeer(p)))
	}
	add(checkAddress(c.AppChannelAddress))
	errs = append(errs, c.checkWaits()...)
	errs = append(errs, c.checkPorts()...)
	errs = append(errs, c.checkFiles()...)
	errs = append(errs, c.checkRestart()...)
	errs = append(errs, c.checkDaprd()...)
	return errors.Join(errs...)
}

func marked(where string, err error) error {
	if err == nil {
		return nil
	}
	return usage(where, err)
}

// word checks that s is one of those that are known. Empty is the default.
func word(where, s string, known []string) error {
	if s == "" || slices.Contains(known, s) {
		return nil
	}
	e := &apperr.Error{
		Reason: apperr.Usage,
		What:   fmt.Sprintf("%s: %q is not one of %s", where, s, strings.Join(known, ", ")),
	}
	if meant := near.Match(s, known); meant != "" {
		e.Hint = "did you mean " + meant + "?"
	}
	return e
}

// The heads that a door may be told to take.
const (
	leastReadBuffer = 1 << 10
	mostReadBuffer  = 64 << 10
)

func checkReadBuffer(n int64) error {
	if n == 0 || n >= leastReadBuffer && n <= mostReadBuffer {
		return nil
	}
	return usage("--read-buffer-size", fmt.Errorf("%d bytes is not between 1Ki and 64Ki", n))
}

func checkAddress(s string) error {
	if s == "" || net.ParseIP(s) != nil {
		return nil
	}
	if strings.ContainsAny(s, ":/ @") {
		return usage("--app-channel-address", fmt.Errorf("%q is not a host name or address; the port goes to --app-port", s))
	}
	return nil
}

func (c Sidecar) checkWaits() []error {
	var errs []error
	for _, wait := range []struct {
		flag string
		d    time.Duration
	}{
		{"--resolve-timeout", c.ResolveTimeout},
		{"--hold", c.Hold},
		{"--start-hold", c.StartHold},
		{"--grace", c.Grace},
	} {
		if wait.d < 0 || wait.d > maxGrace && wait.d != Forever {
			errs = append(errs, usage(wait.flag, fmt.Errorf("%v is not between 0s and 24h", wait.d)))
		}
	}
	return errs
}

// checkPorts compares the ports that were given with each other. Whether one
// is free is found out by binding it, not by looking.
func (c Sidecar) checkPorts() []error {
	ports := []struct {
		flag string
		n    uint16
	}{
		{"--app-port", c.AppPort},
		{"--dapr-http-port", c.HTTPPort},
		{"--dapr-grpc-port", c.GRPCPort},
		{"--dapr-internal-grpc-port", c.MeshPort},
		{"--profile-port", c.ProfilePort},
		{"--dapr-public-port", c.PublicPort},
		{"--metrics-port", c.metricsPort()},
	}
	var errs []error
	for i, a := range ports {
		for _, b := range ports[:i] {
			if a.n != 0 && a.n == b.n {
				errs = append(errs, &apperr.Error{
					Reason: apperr.Usage,
					What:   fmt.Sprintf("%s and %s are both %d", b.flag, a.flag, a.n),
					Hint:   "give them different ports, or leave out " + a.flag + " to get a free one",
				})
			}
		}
	}
	return errs
}

// metricsPort is where metrics are served, 0 if they are not.
func (c Sidecar) metricsPort() uint16 {
	if !c.Metrics {
		return 0
	}
	return c.MetricsPort
}

func (c Sidecar) checkFiles() []error {
	var errs []error
	for _, dir := range c.ResourcesPaths {
		if info, err := os.Stat(dir); err != nil {
			errs = append(errs, unreadable("--resources-path", dir, err))
		} else if !info.IsDir() && !strings.HasSuffix(dir, ".yaml") && !strings.HasSuffix(dir, ".yml") {
			errs = append(errs, usage("--resources-path", fmt.Errorf("%s is neither a folder nor a YAML file", dir)))
		}
	}
	for _, file := range c.ConfigFiles {
		if _, err := os.Stat(file); err != nil {
			errs = append(errs, unreadable("--config", file, err))
		}
	}
	return errs
}

// unreadable says that a path that was given cannot be used.
func unreadable(where, path string, err error) error {
	return &apperr.Error{
		Reason: apperr.Usage, Err: err,
		What:  fmt.Sprintf("%s: %q cannot be read", where, path),
		Cause: bare(err).Error(),
	}
}
