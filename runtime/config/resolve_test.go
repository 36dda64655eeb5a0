package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func parse(t *testing.T, text string) File {
	t.Helper()
	f, err := Parse("config.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return f
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	t.Parallel()
	file := parse(t, "namespace: file\n")
	env := environment(map[string]string{"NAMESPACE": "env"})
	none := environment(nil)
	for name, c := range map[string]struct {
		given  Given
		getenv func(string) string
		file   File
		want   string
	}{
		"all":      {Given{"namespace": {"flag"}}, env, file, "flag"},
		"no flag":  {nil, env, file, "env"},
		"file":     {nil, none, file, "file"},
		"nothing":  {nil, none, File{}, "default"},
		"two said": {Given{"namespace": {"one", "two"}}, env, file, "two"},
	} {
		got, err := Resolve(c.given, c.getenv, c.file)
		if err != nil || got.Namespace != c.want {
			t.Errorf("%s: namespace %q, %v; want %q", name, got.Namespace, err, c.want)
		}
	}
}

func TestResolveTakesEverySettingOfARun(t *testing.T) {
	t.Parallel()
	got, err := Resolve(Given{
		"app-id": {"todo-api"}, "app-port": {"8000"}, "app-protocol": {"grpc"}, "app-ssl": {"true"},
		"app-channel-address": {"::1"}, "app-max-concurrency": {"7"},
		"dapr-http-port": {"3501"}, "dapr-grpc-port": {"-1"}, "dapr-internal-grpc-port": {"4000"},
		"lan": {"true"}, "discovery": {"local,mdns"}, "peer": {"a=h:1", "h:2"},
		"hold": {"0s"}, "grace": {"1m"}, "allowed-origins": {"https://a, https://b"},
		"engine": {"standard"}, "read-buffer-size": {"16Ki"}, "log-level": {"FATAL"}, "enable-api-logging": {"true"}, "resources-path": {"."}, "config": {"x"},
	}, environment(map[string]string{"DAPR_API_TOKEN": "t1", "APP_API_TOKEN": "t2"}),
		parse(t, "resolveTimeout: 2s\nlogs:\n  perRun: 8MiB\n  total: 1GB\nallowedHosts: [dev.box]\nstartHold: 2m\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Sidecar{
		AppID: "todo-api", Namespace: "default", AppPort: 8000, AppProtocol: "grpcs",
		AppChannelAddress: "::1", AppMaxConcurrency: 7, HTTPPort: 3501, MeshPort: 4000,
		LAN: true, Discovery: []string{"local", "mdns"}, Peers: []string{"a=h:1", "h:2"},
		ResolveTimeout: 2 * time.Second, Hold: NoWait, StartHold: 2 * time.Minute, Grace: time.Minute,
		AllowedOrigins: []string{"https://a", "https://b"}, AllowedHosts: []string{"dev.box"},
		APIToken: "t1", AppToken: "t2", LogLevel: "error", APILogging: true,
		Engine: "standard", ReadBuffer: 16 << 10,
		LogsPerRun: 8 << 20, LogsTotal: 1e9, ResourcesPaths: []string{"."}, ConfigFiles: []string{"x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Resolve (-want +got):\n%s", diff)
	}
}

func TestResolveReportsEveryValueItCannotRead(t *testing.T) {
	t.Parallel()
	_, err := Resolve(Given{"app-port": {"99999"}, "grace": {"ten"}, "app-max-concurrency": {"-2"}},
		environment(nil), parse(t, "hold: forever\n"))
	for _, want := range []string{
		`--app-port: "99999" is not a port: 1 to 65535, or auto`,
		`--grace: "ten" is not a time`,
		`--app-max-concurrency: "-2" is not a number of calls`,
		`config.yaml:1:7: hold: "forever" is not a time`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error says %v\nand not %q", err, want)
		}
	}
}

func TestAppPortAutoIsTheOnlyWord(t *testing.T) {
	t.Parallel()
	c, err := Resolve(Given{"app-port": {"auto"}}, environment(nil), File{})
	if err != nil || !c.AppPortAuto || c.AppPort != 0 {
		t.Errorf("auto gives %+v, %v", c, err)
	}
}

func TestValidateReportsEverythingWrong(t *testing.T) {
	t.Parallel()
	good, err := Resolve(nil, environment(nil), File{})
	if err != nil {
		t.Fatal(err)
	}
	good.AppID = "todo-api"
	if err := good.Validate(); err != nil {
		t.Fatalf("the defaults with an app ID: %v", err)
	}
	bad := good
	bad.AppID, bad.Namespace = "-x-", "a b"
	bad.AppProtocol, bad.LogLevel = "htp", "loud"
	bad.Discovery, bad.Peers = []string{"mdsn"}, []string{"no port"}
	bad.AppChannelAddress = "127.0.0.1:80"
	bad.HTTPPort, bad.GRPCPort, bad.AppPort = 3500, 3500, 3500
	bad.Engine, bad.ReadBuffer = "quick", 1<<20
	bad.Grace, bad.Hold = -1, 48*time.Hour
	bad.ResourcesPaths, bad.ConfigFiles = []string{"/does/not/exist"}, []string{"/nor/does/this"}
	err = bad.Validate()
	for _, want := range []string{
		`--engine: "quick" is not one of fast, standard`, `--read-buffer-size: 1048576 bytes is not between 1Ki and 64Ki`,
		`--app-id: "-x-" is not an app ID`, `--namespace: "a b"`, `--app-protocol: "htp" is not one of http`,
		"did you mean http?", `--log-level: "loud"`, `--discovery: "mdsn"`, "did you mean mdns?",
		`--peer: peer "no port" is not [app-id=]host:port`, "--app-channel-address",
		"--app-port and --dapr-http-port are both 3500", "--dapr-http-port and --dapr-grpc-port are both 3500",
		"--grace", "--hold", `--resources-path: "/does/not/exist" cannot be read`, `--config: "/nor/does/this" cannot be read`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestReservedAppIDsCannotBeRun(t *testing.T) {
	t.Parallel()
	c := Sidecar{AppID: "pillion-cli", Namespace: "default"}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("pillion-cli: %v", err)
	}
}

func TestPeersAreHostAndPortWithOrWithoutAnID(t *testing.T) {
	t.Parallel()
	for peer, ok := range map[string]bool{
		"10.0.0.7:50002": true, "todo-api=box.local:1": true, "todo-api.shop=[fe80::1]:9": true,
		"box": false, "=box:1": false, "a b=box:1": false, "todo=:1": false, "todo=box:0": false,
		"todo=box:70000": false, "todo.a.b=box:1": false, "": false,
	} {
		if err := checkPeer(peer); (err == nil) != ok {
			t.Errorf("checkPeer(%q) = %v", peer, err)
		}
	}
}
