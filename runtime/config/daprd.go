package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"
)

// What daprd does unless it is told otherwise.
const (
	DefaultDaprHTTPPort     = 3500
	DefaultDaprGRPCPort     = 50001
	DefaultGracefulShutdown = 5 * time.Second

	DefaultHealthPath      = "/healthz"
	DefaultHealthInterval  = 5 * time.Second
	DefaultHealthTimeout   = 500 * time.Millisecond
	DefaultHealthThreshold = 3
)

// Forever is a wait without an end.
const Forever = time.Duration(math.MaxInt64)

// The endpoints of an app that --disable-init-endpoints can keep from being
// asked.
const (
	InitConfig    = "config"
	InitSubscribe = "subscribe"
)

// AppHealth is how an app's health is asked for. Without Check it is not; the
// other zero fields have Dapr's defaults.
type AppHealth struct {
	Check             bool
	Path              string
	Interval, Timeout time.Duration
	Threshold         int
}

// WithDefaults fills in Dapr's defaults.
func (h AppHealth) WithDefaults() AppHealth {
	if h.Path == "" {
		h.Path = DefaultHealthPath
	}
	if h.Interval <= 0 {
		h.Interval = DefaultHealthInterval
	}
	if h.Timeout <= 0 {
		h.Timeout = DefaultHealthTimeout
	}
	if h.Threshold < 1 {
		h.Threshold = DefaultHealthThreshold
	}
	return h
}

// daprdSettings are the settings that daprd has and `pillion run` does not, by
// daprd's flags. A size or a number that is negative stands for the default,
// as there. What is given in an old form comes first, so that the new one wins.
var daprdSettings = []setting{
	{flag: "dapr-listen-addresses", set: texts(func(c *Sidecar) *[]string { return &c.ListenAddresses })},
	{flag: "dapr-public-port", set: port(func(c *Sidecar) *uint16 { return &c.PublicPort })},
	{flag: "dapr-public-listen-address", set: text(func(c *Sidecar) *string { return &c.PublicListenAddress })},
	{flag: "dapr-internal-grpc-listen-address", set: text(func(c *Sidecar) *string { return &c.InternalListenAddress })},
	{flag: "unix-domain-socket", set: text(func(c *Sidecar) *string { return &c.UnixDomainSocket })},
	{flag: "dapr-graceful-shutdown-seconds", set: setGracefulShutdown},
	{flag: "dapr-block-shutdown-duration", set: duration(func(c *Sidecar) *time.Duration { return &c.BlockShutdown })},
	{flag: "enable-mtls", set: boolean(func(c *Sidecar) *bool { return &c.EnableMTLS })},
	{flag: "sentry-address", set: text(func(c *Sidecar) *string { return &c.SentryAddress })},
	{env: "DAPR_TRUST_ANCHORS", set: text(func(c *Sidecar) *string { return &c.TrustAnchors })},
	{flag: "log-as-json", set: boolean(func(c *Sidecar) *bool { return &c.LogAsJSON })},
	{flag: "log-file", set: text(func(c *Sidecar) *string { return &c.LogFile })},
	{flag: "disable-init-endpoints", set: texts(func(c *Sidecar) *[]string { return &c.DisableInitEndpoints })},
	{flag: "dapr-http-max-request-size", set: bound(setUnits(1<<20, func(c *Sidecar) *int64 { return &c.MaxBody }))},
	{flag: "max-body-size", set: bound(quantity(func(c *Sidecar) *int64 { return &c.MaxBody }))},
	{flag: "dapr-http-read-buffer-size", set: setUnits(1<<10, func(c *Sidecar) *int64 { return &c.ReadBuffer })},
	{flag: "read-buffer-size", set: quantity(func(c *Sidecar) *int64 { return &c.ReadBuffer })},
	{flag: "enable-metrics", set: boolean(func(c *Sidecar) *bool { return &c.Metrics })},
	{flag: "metrics-port", set: port(func(c *Sidecar) *uint16 { return &c.MetricsPort })},
	{flag: "metrics-listen-address", set: text(func(c *Sidecar) *string { return &c.MetricsListenAddress })},
}

// ResolveSidecar is Resolve for `pillion sidecar`: what daprd's command line
// means. Of the file only what daprd has no flag for counts: who starts daprd
// says all of that on the command line. Getenv is daprd's environment.
func ResolveSidecar(given Given, getenv func(string) string, file File) (Sidecar, error) {
	file = file.without("grace", "allowedOrigins", "logLevel", "enableApiLogging")
	given = maps.Clone(given)
	maps.DeleteFunc(given, func(_ string, values []string) bool { return last(values) == "" }) // as if it were not there
	shared := maps.Clone(given)
	delete(shared, "read-buffer-size") // daprd's takes any size
	c, unread := Resolve(shared, getenv, file)
	c.Profile = SidecarProfile()
	c.SetCommand(nil, nil)
	c.AppProtocol = strings.ToLower(c.AppProtocol)
	c.Grace = DefaultGracefulShutdown
	c.Metrics, c.MetricsPort = true, c.Profile.MetricsPort
	errs := []error{unread}
	for _, s := range daprdSettings {
		errs = append(errs, s.resolve(&c, given, getenv, file))
	}
	c.ReadBuffer = heldWithin(c.ReadBuffer)
	if c.HTTPPort == 0 && !zero(given["dapr-http-port"]) {
		c.HTTPPort = DefaultDaprHTTPPort
	}
	if c.GRPCPort == 0 && !zero(given["dapr-grpc-port"]) {
		c.GRPCPort = DefaultDaprGRPCPort
	}
	return c, errors.Join(errs...)
}

// ClearMesh reports whether sidecars speak to each other in clear text: by Dapr's
// protocol, and nothing else.
func (c Sidecar) ClearMesh() bool {
	return c.Profile != (Profile{}) && !c.Profile.SecureMesh && !c.EnableMTLS
}

// MixedMesh reports whether sidecars speak to each other by mutual TLS, in Dapr's
// protocol where the other one has none of pillion's.
func (c Sidecar) MixedMesh() bool {
	return c.Profile != (Profile{}) && !c.Profile.SecureMesh && c.EnableMTLS
}

// zero reports whether a port was given as 0: any free one.
func zero(values []string) bool { return strings.TrimSpace(last(values)) == "0" }

// heldWithin is the size of a head that was asked for, as far as we go: no more
// crosses the mesh.
func heldWithin(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return min(max(n, leastReadBuffer), mostReadBuffer)
}

// setGracefulShutdown takes Dapr's 0 for no limit and less for the default.
func setGracefulShutdown(c *Sidecar, values []string) error {
	n, err := parseNumber(last(values))
	switch {
	case err != nil:
		return err
	case n < 0:
		c.Grace = DefaultGracefulShutdown
	case n == 0:
		c.Grace = Forever
	default:
		c.Grace = time.Duration(min(n, int64(maxGrace/time.Second))) * time.Second
	}
	return nil
}

func setThreshold(c *Sidecar, values []string) error {
	n, err := parseNumber(last(values))
	c.AppHealth.Threshold = int(min(max(n, 0), math.MaxInt32-1))
	return err
}

// setTimes takes a number of units of time.
func setTimes(unit time.Duration, field func(*Sidecar) *time.Duration) func(*Sidecar, []string) error {
	return func(c *Sidecar, values []string) error {
		n, err := parseNumber(last(values))
		*field(c) = time.Duration(min(max(n, 0), int64(maxGrace/unit))) * unit
		return err
	}
}

// setUnits takes a number of units of a size.
func setUnits(unit int64, field func(*Sidecar) *int64) func(*Sidecar, []string) error {
	return func(c *Sidecar, values []string) error {
		n, err := parseNumber(last(values))
		*field(c) = min(max(n, 0), math.MaxInt32) * unit
		return err
	}
}

// quantity takes a size as Kubernetes writes it: 4Mi, 1.5M, -1.
func quantity(field func(*Sidecar) *int64) func(*Sidecar, []string) error {
	return read(parseQuantity, field)
}

func parseQuantity(s string) (int64, error) {
	text := strings.TrimSpace(s)
	at := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' && r != '-' })
	if at < 0 {
		at = len(text)
	}
	n, err := strconv.ParseFloat(text[:at], 64)
	unit, known := sizeUnits[strings.ToLower(text[at:])]
	if err != nil || !known || n*float64(unit) > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is not a size such as 4Mi", s)
	}
	return max(0, int64(n*float64(unit))), nil
}

func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return n, nil
}

// checkDaprd returns what is wrong with the settings that only daprd has.
func (c Sidecar) checkDaprd() []error {
	var errs []error
	for _, name := range c.DisableInitEndpoints {
		errs = append(errs, word("--disable-init-endpoints", strings.ToLower(name), []string{InitConfig, InitSubscribe}))
	}
	if h := c.AppHealth.WithDefaults(); h.Timeout > h.Interval {
		errs = append(errs, usage("--app-health-probe-timeout",
			fmt.Errorf("%v is longer than the interval between two probes, %v", h.Timeout, h.Interval)))
	}
	for _, address := range append([]string{c.InternalListenAddress, c.PublicListenAddress, c.MetricsListenAddress}, c.ListenAddresses...) {
		if strings.ContainsAny(address, "/ @") {
			errs = append(errs, usage("a listen address", fmt.Errorf("%q is not a host name or address", address)))
		}
	}
	return errs
}
