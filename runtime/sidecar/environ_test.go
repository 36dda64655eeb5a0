//go:build unix

package sidecar_test

import (
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/config"
)

// variables are what the app printed of its environment; of two of one name
// both are there.
func variables(output string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(output) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			out[name] = append(out[name], value)
		}
	}
	return out
}

func TestTheAppsEnvironmentIsOursAndDaprs(t *testing.T) {
	t.Parallel()
	const some = "?" // any one value
	for name, c := range map[string]struct {
		cfg   config.Sidecar
		given []string
		want  map[string]string // "" for none
	}{
		"plain": {
			config.Sidecar{},
			[]string{"COLOR=green"},
			map[string]string{
				"APP_ID": "app", "APP_PROTOCOL": "http", "APP_CHANNEL_ADDRESS": "127.0.0.1", "COLOR": "green",
				"DAPR_HTTP_PORT": some, "DAPR_GRPC_PORT": some, "DAPR_HTTP_ENDPOINT": some, "DAPR_GRPC_ENDPOINT": some,
				"PORT": "", "APP_PORT": "", "SIDECAR_GUARD": "",
			},
		},
		"nested in another run": {
			config.Sidecar{AppID: "inner"},
			[]string{"APP_ID=outer", "DAPR_HTTP_PORT=1", "DAPR_HTTP_ENDPOINT=http://127.0.0.1:1", "DAPR_METRICS_PORT=1"},
			map[string]string{"APP_ID": "inner", "DAPR_HTTP_PORT": some, "DAPR_HTTP_ENDPOINT": some, "DAPR_METRICS_PORT": ""},
		},
		"metrics": {
			config.Sidecar{Metrics: true}, nil, map[string]string{"DAPR_METRICS_PORT": some},
		},
		"a PORT of the user's stays without --app-port": {
			config.Sidecar{}, []string{"PORT=8080"}, map[string]string{"PORT": "8080", "APP_PORT": ""},
		},
		"--app-port": {
			config.Sidecar{AppPort: 47001}, []string{"PORT=8080"}, map[string]string{"PORT": "47001", "APP_PORT": "47001"},
		},
		"--app-port auto": {
			config.Sidecar{AppPortAuto: true}, nil, map[string]string{"PORT": some, "APP_PORT": some},
		},
		"how the app is called": {
			config.Sidecar{AppProtocol: "h2c", AppChannelAddress: "::1"},
			nil,
			map[string]string{"APP_PROTOCOL": "h2c", "APP_CHANNEL_ADDRESS": "::1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newPlace(t).start(actEnviron, c.cfg, c.given...)
			if exit := r.end(); exit != 0 {
				t.Fatalf("exit %d", exit)
			}
			got := variables(r.output())
			for name, want := range c.want {
				switch values := got[name]; {
				case want == "" && len(values) > 0:
					t.Errorf("%s is %q, want none", name, values)
				case want != "" && (len(values) != 1 || want != some && values[0] != want || values[0] == "" || values[0] == "1"):
					t.Errorf("%s is %q, want one: %s", name, values, want)
				}
			}
			if http := got["DAPR_HTTP_ENDPOINT"][0]; http != "http://127.0.0.1:"+got["DAPR_HTTP_PORT"][0] {
				t.Errorf("the endpoint is %s, the port %s", http, got["DAPR_HTTP_PORT"])
			}
		})
	}
}
