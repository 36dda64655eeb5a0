package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// Default waits.
const (
	DefaultResolveTimeout = time.Second
	DefaultHold           = 10 * time.Second
	DefaultStartHold      = 60 * time.Second
	DefaultGrace          = 10 * time.Second
)

// NoWait is a wait that somebody gave as 0: over before it has begun, and not
// the zero that stands for the default.
const NoWait time.Duration = 1

// NoBound is a bound on bodies that there is none.
const NoBound int64 = -1

// A Given is what was said on the command line, by flag: the values in order.
// A flag nobody gave is not in it.
type Given map[string][]string

// setting is one thing a sidecar is told and the places it may be told in.
type setting struct {
	flag string
	env  string
	key  string // in config.yaml; a dot leads into a block
	set  func(c *Sidecar, values []string) error
}

// settings is every setting there is. For each one a flag beats the
// environment, the environment beats config.yaml, and that beats the default.
var settings = []setting{
	{flag: "app-id", set: text(func(c *Sidecar) *string { return &c.AppID })},
	{flag: "namespace", env: "NAMESPACE", key: "namespace", set: setNamespace},
	{flag: "app-port", set: setAppPort},
	{flag: "app-protocol", set: text(func(c *Sidecar) *string { return &c.AppProtocol })},
	{flag: "app-ssl", set: setAppSSL},
	{flag: "app-channel-address", set: text(func(c *Sidecar) *string { return &c.AppChannelAddress })},
	{flag: "app-max-concurrency", set: setMaxConcurrency},
	{flag: "dapr-http-port", set: port(func(c *Sidecar) *uint16 { return &c.HTTPPort })},
	{flag: "dapr-grpc-port", set: port(func(c *Sidecar) *uint16 { return &c.GRPCPort })},
	{flag: "dapr-internal-grpc-port", set: port(func(c *Sidecar) *uint16 { return &c.MeshPort })},
	{flag: "lan", key: "lan", set: boolean(func(c *Sidecar) *bool { return &c.LAN })},
	{flag: "discovery", key: "discovery", set: texts(func(c *Sidecar) *[]string { return &c.Discovery })},
	{flag: "peer", key: "peers", set: texts(func(c *Sidecar) *[]string { return &c.Peers })},
	{flag: "resolve-timeout", key: "resolveTimeout", set: duration(func(c *Sidecar) *time.Duration { return &c.ResolveTimeout })},
	{flag: "state", key: "state", set: text(func(c *Sidecar) *string { return &c.StateFile })},
	{flag: "hold", key: "hold", set: duration(func(c *Sidecar) *time.Duration { return &c.Hold })},
	{flag: "start-hold", key: "startHold", set: duration(func(c *Sidecar) *time.Duration { return &c.StartHold })},
	{flag: "grace", key: "grace", set: duration(func(c *Sidecar) *time.Duration { return &c.Grace })},
	{flag: "watch", env: "PILLION_WATCH", key: "watch", set: setWatch},
	{flag: "build", env: "PILLION_BUILD", key: "build", set: setBuild},
	{flag: "restart", env: "PILLION_RESTART", key: "restart", set: setRestart},
	{flag: "allowed-origins", key: "allowedOrigins", set: texts(func(c *Sidecar) *[]string { return &c.AllowedOrigins })},
	{flag: "allowed-hosts", key: "allowedHosts", set: texts(func(c *Sidecar) *[]string { return &c.AllowedHosts })},
	{flag: "allow-other-users", key: "allowOtherUsers", set: boolean(func(c *Sidecar) *bool { return &c.AllowOtherUsers })},
	{env: "PILLION_ACCESS_RULES", set: text(func(c *Sidecar) *string { return &c.AccessRules })},
	{env: "DAPR_HOST_IP", set: text(func(c *Sidecar) *string { return &c.HostIP })},
	{env: "DAPR_API_TOKEN", set: text(func(c *Sidecar) *string { return &c.APIToken })},
	{env: "APP_API_TOKEN", set: text(func(c *Sidecar) *string { return &c.AppToken })},
	{flag: "enable-app-health-check", set: boolean(func(c *Sidecar) *bool { return &c.AppHealth.Check })},
	{flag: "app-health-check-path", set: text(func(c *Sidecar) *string { return &c.AppHealth.Path })},
	{flag: "app-health-probe-interval", set: setTimes(time.Second, func(c *Sidecar) *time.Duration { return &c.AppHealth.Interval })},
	{flag: "app-health-probe-timeout", set: setTimes(time.Millisecond, func(c *Sidecar) *time.Duration { return &c.AppHealth.Timeout })},
	{flag: "app-health-threshold", set: setThreshold},
	{flag: "log-level", key: "logLevel", set: setLogLevel},
	{flag: "enable-api-logging", key: "enableApiLogging", set: setAPILogging},
	{flag: "enable-profiling", set: boolean(func(c *Sidecar) *bool { return &c.Profiling })},
	{flag: "metrics-port", set: setMetricsPort},
	{flag: "profile-port", set: port(func(c *Sidecar) *uint16 { return &c.ProfilePort })},
	{flag: "engine", set: text(func(c *Sidecar) *string { return &c.Engine })},
	{flag: "read-buffer-size", set: size(func(c *Sidecar) *int64 { return &c.ReadBuffer })},
	{flag: "max-body-size", set: bound(quantity(func(c *Sidecar) *int64 { return &c.MaxBody }))},
	{key: "logs.perRun", set: size(func(c *Sidecar) *int64 { return &c.LogsPerRun })},
	{key: "logs.total", set: size(func(c *Sidecar) *int64 { return &c.LogsTotal })},
	{flag: "components-path", set: texts(func(c *Sidecar) *[]string { return &c.ResourcesPaths })},
	{flag: "resources-path", set: texts(func(c *Sidecar) *[]string { return &c.ResourcesPaths })},
	{flag: "config", set: texts(func(c *Sidecar) *[]string { return &c.ConfigFiles })},
}

// Resolve is where a sidecar's configuration comes from: for each setting the
// flag, else the environment, else the file, else the default. Every value
// that cannot be read is reported, joined; Validate judges the result.
func Resolve(given Given, getenv func(string) string, file File) (Sidecar, error) {
	c := Sidecar{
		Namespace:      "default",
		AppProtocol:    "http",
		ResolveTimeout: DefaultResolveTimeout,
		Hold:           DefaultHold,
		StartHold:      DefaultStartHold,
		Grace:          DefaultGrace,
		LogLevel:       "info",
	}
	var errs []error
	for _, s := range settings {
		errs = append(errs, s.resolve(&c, given, getenv, file))
	}
	c.Watch = fromHome(c.Watch, getenv)
	return c, errors.Join(errs...)
}

// resolve sets c's field from the first place that says something.
func (s setting) resolve(c *Sidecar, given Given, getenv func(string) string, file File) error {
	if values, ok := given[s.flag]; ok && s.flag != "" {
		if err := s.set(c, values); err != nil {
			return usage("--"+s.flag, err)
		}
		return nil
	}
	if s.env != "" && getenv(s.env) != "" {
		if err := s.set(c, []string{getenv(s.env)}); err != nil {
			return usage(s.env+" in the environment", err)
		}
		return nil
	}
	if v, ok := file.values[s.key]; ok && s.key != "" {
		if err := s.set(c, v.values); err != nil {
			return file.problem(v.line, v.column, s.key+": "+err.Error(), "")
		}
	}
	return nil
}

// usage is a value given in the wrong form.
func usage(where string, err error) error {
	return &apperr.Error{Reason: apperr.Usage, What: where + ": " + err.Error(), Err: err}
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func text(field func(*Sidecar) *string) func(*Sidecar, []string) error {
	return func(c *Sidecar, values []string) error {
		*field(c) = last(values)
		return nil
	}
}

func texts(field func(*Sidecar) *[]string) func(*Sidecar, []string) error {
	return func(c *Sidecar, values []string) error {
		*field(c) = list(values)
		return nil
	}
}

// read makes a setter of a parser.
func read[T any](parse func(string) (T, error), field func(*Sidecar) *T) func(*Sidecar, []string) error {
	return func(c *Sidecar, values []string) error {
		v, err := parse(last(values))
		if err != nil {
			return err
		}
		*field(c) = v
		return nil
	}
}

func port(field func(*Sidecar) *uint16) func(*Sidecar, []string) error {
	return read(ParsePort, field)
}

func boolean(field func(*Sidecar) *bool) func(*Sidecar, []string) error {
	return read(ParseBool, field)
}

func duration(field func(*Sidecar) *time.Duration) func(*Sidecar, []string) error {
	return read(parseWait, field)
}

// parseWait is ParseDuration for a Sidecar's waits, where zero says nothing:
// one that was given as 0 is NoWait.
func parseWait(s string) (time.Duration, error) {
	d, err := ParseDuration(s)
	if err == nil && d == 0 {
		d = NoWait
	}
	return d, err
}

func size(field func(*Sidecar) *int64) func(*Sidecar, []string) error {
	return read(ParseSize, field)
}

// setAPILogging keeps apart who said no and who said nothing.
func setAPILogging(c *Sidecar, values []string) error {
	on, err := ParseBool(last(values))
	c.APILogging, c.APILoggingOff = on, !on && err == nil
	return err
}

// bound takes Dapr's 0 and less for no bound on bodies.
func bound(set func(*Sidecar, []string) error) func(*Sidecar, []string) error {
	return func(c *Sidecar, values []string) error {
		err := set(c, values)
		if err == nil && c.MaxBody <= 0 {
			c.MaxBody = NoBound
		}
		return err
	}
}

func setNamespace(c *Sidecar, values []string) error {
	c.Namespace, c.NamespaceGiven = last(values), true
	return nil
}

func setAppPort(c *Sidecar, values []string) error {
	if strings.EqualFold(last(values), "auto") {
		c.AppPortAuto = true
		return nil
	}
	n, err := ParsePort(last(values))
	if err != nil {
		return fmt.Errorf("%w, or auto", err)
	}
	c.AppPort = n
	return nil
}

// setAppSSL is Dapr's old way to say https or grpcs. It comes after the
// protocol in the table, which it makes secure.
func setAppSSL(c *Sidecar, values []string) error {
	on, err := ParseBool(last(values))
	if on && (c.AppProtocol == "http" || c.AppProtocol == "grpc") {
		c.AppProtocol += "s"
	}
	return err
}

// setMetricsPort says where metrics are served, and with it that they are.
func setMetricsPort(c *Sidecar, values []string) error {
	n, err := ParsePort(last(values))
	c.MetricsPort, c.Metrics = n, n != 0
	return err
}

// setMaxConcurrency takes Dapr's -1 for no bound.
func setMaxConcurrency(c *Sidecar, values []string) error {
	n, err := strconv.Atoi(strings.TrimSpace(last(values)))
	if err != nil || n < -1 {
		return fmt.Errorf("%q is not a number of calls", last(values))
	}
	c.AppMaxConcurrency = max(0, n)
	return nil
}

// setLogLevel takes Dapr's words, too.
func setLogLevel(c *Sidecar, values []string) error {
	level := strings.ToLower(last(values))
	switch level {
	case "warning":
		level = "warn"
	case "fatal":
		level = "error"
	}
	c.LogLevel = level
	return nil
}
