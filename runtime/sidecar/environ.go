package sidecar

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/runtime/config"
)

const metricsVariable = "DAPR_METRICS_PORT"

// environ is the app's environment: what we were given, and what an app of
// Dapr expects (dapr-facts §11.3: APP_ID and friends). PORT and APP_PORT are
// only set when the port was chosen by a flag, because many programs follow
// PORT and the app's own choice stands otherwise. What a run file sets counts
// most, as with Dapr.
func environ(base []string, cfg config.Sidecar, http, grpc uint16) []string {
	protocol := cfg.AppProtocol
	if protocol == "" {
		protocol = "http"
	}
	address := cfg.AppChannelAddress
	if address == "" {
		address = "127.0.0.1"
	}
	set := map[string]string{
		"APP_ID":              cfg.AppID,
		"APP_PROTOCOL":        protocol,
		"APP_CHANNEL_ADDRESS": address,
		"DAPR_HTTP_PORT":      port(http),
		"DAPR_GRPC_PORT":      port(grpc),
		"DAPR_HTTP_ENDPOINT":  "http://127.0.0.1:" + port(http),
		"DAPR_GRPC_ENDPOINT":  "http://127.0.0.1:" + port(grpc),
	}
	if cfg.Metrics {
		set[metricsVariable] = port(cfg.MetricsPort)
	}
	if cfg.AppPort != 0 {
		set["PORT"], set["APP_PORT"] = port(cfg.AppPort), port(cfg.AppPort)
	}
	out := slices.DeleteFunc(slices.Clone(base), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		_, ours := set[name]
		return ours || name == metricsVariable // another run's says nothing of this one
	})
	for name, value := range set {
		out = append(out, name+"="+value)
	}
	slices.Sort(out[len(out)-len(set):])
	return override(out, cfg.Environ)
}

// override is base with the pairs of more in place of its own.
func override(base, more []string) []string {
	if len(more) == 0 {
		return base
	}
	names := map[string]bool{}
	for _, pair := range more {
		name, _, _ := strings.Cut(pair, "=")
		names[name] = true
	}
	base = slices.DeleteFunc(base, func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return names[name]
	})
	return append(base, more...)
}

func port(n uint16) string { return strconv.Itoa(int(n)) }
