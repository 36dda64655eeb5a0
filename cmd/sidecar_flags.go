package cmd

import (
	"strings"

	"github.com/spf13/cobra"
)

// addSidecarFlags adds daprd's flags. There are no short names; a single dash
// is taken for two (daprdArgs).
func addSidecarFlags(cmd *cobra.Command, o *sidecarOptions) {
	app := group(cmd, "App")
	app.setting("app-id", "", "<name> what other apps call it; required")
	app.setting("app-port", "", "<port> where it listens [none]")
	app.setting("app-protocol", "", "<name> http, https, h2c, grpc or grpcs [http]")
	app.setting("app-channel-address", "", "<host> the host it listens on [127.0.0.1]")
	app.setting("app-max-concurrency", "", "<n> calls it gets at once, at most [no bound]")
	addHealthFlags(app)
	app.setting("disable-init-endpoints", "", "<list> of it not to ask: config, subscribe")
	addDoorFlags(cmd)
	mesh := group(cmd, "Mesh")
	mesh.setting("dapr-internal-grpc-port", "", "<port> of the mesh [a stable one]")
	mesh.setting("dapr-internal-grpc-listen-address", "", "<host> where it listens [all interfaces]")
	mesh.toggle("enable-mtls", "mutual TLS between sidecars")
	mesh.setting("peer", "", "<peer> a static peer, as app-id=host:port")
	mesh.setting("sentry-address", "", "<address> of another authority; not in this version")
	files := group(cmd, "Files")
	files.setting("resources-path", "", "<dir> Dapr resources; may be given again [none]")
	files.setting("config", "", "<file> Dapr configuration; may be given again [none]")
	log := group(cmd, "Log")
	log.setting("log-level", "", "<level> debug, info, warn, error or fatal [info]")
	log.toggle("log-as-json", "one JSON object a line, in place of text")
	log.setting("log-file", "", "<file> to write it to [stdout]")
	log.toggle("enable-api-logging", "a line for each call [as --config says]")
	stop := group(cmd, "Stop")
	stop.setting("dapr-graceful-shutdown-seconds", "", "<seconds> it may take, 0 for any [5]")
	stop.setting("dapr-block-shutdown-duration", "", "<time> to go on after a signal first [none]")
	ask := group(cmd, "Ask")
	ask.on(&o.version, "version", "", "print the version")
	ask.on(&o.buildInfo, "build-info", "", "print the version and the commit")
	ask.on(&o.wait, "wait", "", "wait for the sidecar on --dapr-http-port")
	addOldSidecarFlags(cmd, o)
}

// addDoorFlags adds those of the ports that programs connect to.
func addDoorFlags(cmd *cobra.Command) {
	doors := group(cmd, "APIs")
	doors.setting("dapr-http-port", "", "<port> of the HTTP API [3500]")
	doors.setting("dapr-grpc-port", "", "<port> of the gRPC API [50001]")
	doors.setting("dapr-listen-addresses", "", "<list> where they listen [all interfaces]")
	doors.setting("unix-domain-socket", "", "<dir> of Unix sockets, in place of the ports")
	doors.setting("dapr-public-port", "", "<port> for health and metadata only [none]")
	doors.setting("dapr-public-listen-address", "", "<host> where that listens [all interfaces]")
	doors.setting("allowed-origins", "", "<list> web origins that may call, by commas")
	doors.setting("read-buffer-size", "", "<size> of a request's head, at most [64Ki]")
	doors.setting("max-body-size", "", "<size> of a body that is held whole [4Mi]")
	doors.toggle("enable-metrics", "metrics, for Prometheus [true]")
	doors.setting("metrics-port", "", "<port> of the metrics [9090]")
	doors.setting("metrics-listen-address", "", "<host> where those listen [all interfaces]")
	doors.toggle("enable-profiling", "pprof profiles, for this machine only")
	doors.setting("profile-port", "", "<port> of the profiles [7777]")
}

// addOldSidecarFlags adds daprd's old forms, and the flags of what is not here.
func addOldSidecarFlags(cmd *cobra.Command, o *sidecarOptions) {
	old := group(cmd, "Old")
	old.setting("components-path", "", "<dir> old name of --resources-path")
	old.toggle("app-ssl", "old form of --app-protocol https")
	old.setting("dapr-http-max-request-size", "", "<MB> old form of --max-body-size")
	old.setting("dapr-http-read-buffer-size", "", "<KB> old form of --read-buffer-size")
	old.texts(&o.mode, "mode", "", "<name> standalone; there is no other here")
	old.setting("engine", "", "<name> who speaks HTTP: fast, or the Go library's standard [fast]")
	for _, f := range oldFlags {
		cmd.Flags().Lookup(f.name).Hidden = true
	}
	for _, name := range []string{"mode", "engine"} {
		cmd.Flags().Lookup(name).Hidden = true
	}
	none := group(cmd, groupNone)
	for _, name := range []string{
		"app-binding-options-timeout", "control-plane-address", "control-plane-trust-domain", "control-plane-namespace",
		"sentry-request-jwt-audiences", "placement-host-address", "scheduler-host-address", "actors-service", "reminders-service",
	} {
		none.texts(new([]string), name, "", "<value> taken from daprd, no effect here")
	}
	none.set.Uint("scheduler-job-streams", 0, "")
	none.describe("scheduler-job-streams", "<n> taken from daprd, no effect here")
	for _, name := range []string{"actors-disseminate-timeout", "hot-reload-reconcile-interval"} {
		none.value(&durationValue{}, name, "", "<time> taken from daprd, no effect here")
	}
	none.on(new(bool), "disable-builtin-k8s-secret-store", "", "taken from daprd, no effect here")
}

// oldFlags are daprd's deprecated flags, and what to say in their place.
var oldFlags = []struct{ name, instead string }{
	{"components-path", "--resources-path"},
	{"app-ssl", "--app-protocol https or grpcs"},
	{"dapr-http-max-request-size", "--max-body-size"},
	{"dapr-http-read-buffer-size", "--read-buffer-size"},
}

// argsOf are the arguments as the root takes them. Under the name daprd
// pillion is its sidecar command.
func argsOf(name string, args []string) []string {
	if name == nameDaprd {
		args = append([]string{sidecarCommand}, args...)
	}
	return daprdArgs(args)
}

// daprdArgs are the arguments of `pillion sidecar` with two dashes in front of
// every flag: daprd takes one, too. Other commands' arguments stay as they are.
func daprdArgs(args []string) []string {
	at := commandAt(args)
	if at < 0 || args[at] != sidecarCommand {
		return args
	}
	out := append([]string{}, args...)
	for i, a := range out[at+1:] {
		if len(a) > 2 && a[0] == '-' && (a[1] >= 'a' && a[1] <= 'z' || a[1] >= 'A' && a[1] <= 'Z') {
			out[at+1+i] = "-" + a
		}
	}
	return out
}

// commandAt is where the command's name stands; -1 if there is none.
func commandAt(args []string) int {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--color":
			i++
		case !strings.HasPrefix(args[i], "-"):
			return i
		}
	}
	return -1
}
