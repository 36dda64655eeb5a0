package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestResolveSidecarTakesDaprdsCommandLine(t *testing.T) {
	t.Parallel()
	got, err := ResolveSidecar(Given{
		"app-id": {"todo-api"}, "app-port": {"8000"}, "app-max-concurrency": {"-1"},
		"dapr-http-port": {"3600"}, "dapr-listen-addresses": {"[::1],127.0.0.1"}, "unix-domain-socket": {"/tmp"},
		"dapr-public-port": {"3601"}, "dapr-public-listen-address": {"127.0.0.1"},
		"dapr-internal-grpc-port": {"4000"}, "dapr-internal-grpc-listen-address": {"127.0.0.2"},
		"dapr-graceful-shutdown-seconds": {"7"}, "dapr-block-shutdown-duration": {"3s"},
		"enable-mtls": {"true"}, "sentry-address": {"localhost:50001"},
		"log-as-json": {"true"}, "log-file": {"x.log"}, "log-level": {"debug"}, "disable-init-endpoints": {"config,subscribe"},
		"enable-app-health-check": {"true"}, "app-health-check-path": {"/h"}, "app-health-probe-interval": {"9"},
		"app-health-probe-timeout": {"250"}, "app-health-threshold": {"2"},
		"max-body-size": {"1.5Mi"}, "dapr-http-max-request-size": {"9"}, "dapr-http-read-buffer-size": {"8"},
		"enable-metrics": {"false"}, "metrics-port": {"9091"}, "metrics-listen-address": {"127.0.0.1"},
	}, environment(map[string]string{"DAPR_TRUST_ANCHORS": "pem", "NAMESPACE": "shop"}),
		parse(t, "grace: 1m\nlogLevel: error\nhold: 3s\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Sidecar{
		Profile: SidecarProfile(), AppID: "todo-api", Namespace: "shop", NamespaceGiven: true, AppPort: 8000, AppProtocol: "http",
		HTTPPort: 3600, GRPCPort: DefaultDaprGRPCPort, MeshPort: 4000,
		ResolveTimeout: DefaultResolveTimeout, Hold: 3 * time.Second, StartHold: DefaultStartHold, Grace: 7 * time.Second,
		LogLevel: "debug", ReadBuffer: 8 << 10,
		ListenAddresses: []string{"[::1]", "127.0.0.1"}, UnixDomainSocket: "/tmp",
		PublicPort: 3601, PublicListenAddress: "127.0.0.1", InternalListenAddress: "127.0.0.2",
		MetricsPort: 9091, MetricsListenAddress: "127.0.0.1",
		EnableMTLS: true, SentryAddress: "localhost:50001", TrustAnchors: "pem",
		BlockShutdown: 3 * time.Second, DisableInitEndpoints: []string{"config", "subscribe"},
		AppHealth: AppHealth{Check: true, Path: "/h", Interval: 9 * time.Second, Timeout: 250 * time.Millisecond, Threshold: 2},
		MaxBody:   3 << 19, LogAsJSON: true, LogFile: "x.log",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ResolveSidecar (-want +got):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("Validate: %v", err)
	}
}

func TestResolveSidecarHasDaprdsDefaults(t *testing.T) {
	t.Parallel()
	got, err := ResolveSidecar(Given{"app-id": {"x"}}, environment(nil), parse(t, "grace: 1m\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Sidecar{
		Profile: SidecarProfile(), AppID: "x", Namespace: "default", AppProtocol: "http",
		HTTPPort: 3500, GRPCPort: 50001, Metrics: true, MetricsPort: 9090,
		ResolveTimeout: DefaultResolveTimeout, Hold: DefaultHold, StartHold: DefaultStartHold,
		Grace: 5 * time.Second, LogLevel: "info",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ResolveSidecar (-want +got):\n%s", diff)
	}
}

func TestNumbersMeanWhatTheyMeanToDaprd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flag, value string
		field       func(Sidecar) any
		want        any
	}{
		{"dapr-graceful-shutdown-seconds", "0", func(c Sidecar) any { return c.Grace }, Forever},
		{"dapr-graceful-shutdown-seconds", "-1", func(c Sidecar) any { return c.Grace }, DefaultGracefulShutdown},
		{"dapr-graceful-shutdown-seconds", "86400", func(c Sidecar) any { return c.Grace }, 24 * time.Hour},
		{"dapr-http-port", "0", func(c Sidecar) any { return c.HTTPPort }, uint16(0)},
		{"max-body-size", "-1", func(c Sidecar) any { return c.MaxBody }, NoBound},
		{"max-body-size", "0", func(c Sidecar) any { return c.MaxBody }, NoBound},
		{"dapr-http-max-request-size", "0", func(c Sidecar) any { return c.MaxBody }, NoBound},
		{"enable-api-logging", "false", func(c Sidecar) any { return c.APILoggingOff }, true},
		{"enable-api-logging", "true", func(c Sidecar) any { return c.APILoggingOff }, false},
		{"max-body-size", "16Mi", func(c Sidecar) any { return c.MaxBody }, int64(16 << 20)},
		{"dapr-http-max-request-size", "16", func(c Sidecar) any { return c.MaxBody }, int64(16 << 20)},
		{"read-buffer-size", "1Mi", func(c Sidecar) any { return c.ReadBuffer }, int64(mostReadBuffer)},
		{"read-buffer-size", "-1", func(c Sidecar) any { return c.ReadBuffer }, int64(0)},
		{"app-port", "", func(c Sidecar) any { return c.AppPort }, uint16(0)},
		{"dapr-public-port", "", func(c Sidecar) any { return c.PublicPort }, uint16(0)},
		{"app-protocol", "GRPC", func(c Sidecar) any { return c.AppProtocol }, "grpc"},
		{"app-protocol", "", func(c Sidecar) any { return c.AppProtocol }, "http"},
		{"enable-mtls", "true", func(c Sidecar) any { return c.ClearMesh() }, false},
		{"enable-mtls", "false", func(c Sidecar) any { return c.ClearMesh() }, true},
		{"app-health-threshold", "-1", func(c Sidecar) any { return c.AppHealth.WithDefaults().Threshold }, 3},
		{"app-health-probe-interval", "0", func(c Sidecar) any { return c.AppHealth.WithDefaults().Interval }, 5 * time.Second},
	} {
		got, err := ResolveSidecar(Given{c.flag: {c.value}}, environment(nil), File{})
		if err != nil || c.field(got) != c.want {
			t.Errorf("--%s %s: %v, %v; want %v", c.flag, c.value, c.field(got), err, c.want)
		}
	}
}

func TestTheZeroProfileIsRunsWhichIsNeverInClearText(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Profile{"zero": {}, "run": RunProfile()} {
		if (Sidecar{Profile: p}).ClearMesh() {
			t.Errorf("the %s profile's mesh is in clear text", name)
		}
	}
}

func TestResolveSidecarReportsEveryValueItCannotRead(t *testing.T) {
	t.Parallel()
	_, err := ResolveSidecar(Given{
		"dapr-graceful-shutdown-seconds": {"soon"}, "max-body-size": {"much"}, "app-health-threshold": {"x"}, "enable-mtls": {"perhaps"},
	}, environment(nil), File{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, flag := range []string{"--dapr-graceful-shutdown-seconds", "--max-body-size", "--app-health-threshold", "--enable-mtls"} {
		if !contains(err, flag) {
			t.Errorf("%v does not name %s", err, flag)
		}
	}
}

func TestValidateKnowsWhatOnlyDaprdHas(t *testing.T) {
	t.Parallel()
	c := Sidecar{
		AppID: "x", DisableInitEndpoints: []string{"conf"}, ListenAddresses: []string{"http://x"},
		AppHealth: AppHealth{Interval: time.Second, Timeout: 2 * time.Second},
		HTTPPort:  9090, Metrics: true, MetricsPort: 9090,
	}
	err := c.Validate()
	for _, want := range []string{"--disable-init-endpoints", "http://x", "--app-health-probe-timeout", "--metrics-port are both 9090"} {
		if err == nil || !contains(err, want) {
			t.Errorf("Validate = %v, which does not say %q", err, want)
		}
	}
}

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }
