// Package config is what a sidecar is told: flags, environment and files,
// resolved once into plain values, with everything wrong reported at once.
package config

import (
	"time"
)

// A Sidecar is the configuration of one sidecar with its app. Its zero value
// with an AppID is a working one.
type Sidecar struct {
	// Profile is the way to run it. The zero Profile is RunProfile.
	Profile Profile

	// AppID is the name other apps call this one by. Required. Derived is
	// true if nobody chose it.
	AppID   string
	Derived bool
	// Namespace is the group of apps this one belongs to. Empty: default.
	// NamespaceGiven is true if somebody chose it: then only resources of this
	// namespace, and of none, are the app's.
	Namespace      string
	NamespaceGiven bool
	// Command is the app and its arguments; empty runs the sidecar alone.
	// Dir is where it runs; empty: the working folder.
	Command []string
	Dir     string
	// Watch are the files, folders and patterns whose changes replace the command's
	// process; what is relative is relative to Dir (WatchPaths). Empty: none.
	Watch []string
	// Build is a line for the shell, run in Dir before each start. Empty: none.
	Build string
	// Restart is when a process that ended is started again. Empty: no.
	Restart RestartPolicy
	// Environ is what the app gets beside its sidecar's environment, as
	// NAME=value. It counts more than what pillion itself sets.
	Environ []string

	// AppPort is where the app listens. Zero with a command: detected. Zero
	// without: the app only calls others. AppPortAuto gives the app a free
	// port in PORT and APP_PORT.
	AppPort     uint16
	AppPortAuto bool
	// AppProtocol is http, https, h2c, grpc or grpcs. Empty: http.
	AppProtocol string
	// AppChannelAddress is the host the app listens on. Empty: 127.0.0.1,
	// then ::1.
	AppChannelAddress string
	// AppMaxConcurrency bounds the calls the app gets at once; 0: no bound.
	AppMaxConcurrency int

	// HTTPPort and GRPCPort are the doors. Zero: 3500 and 50001 if free, else
	// any free port.
	HTTPPort uint16
	GRPCPort uint16
	// MeshPort is the mesh listener. Zero: the stable one of Dapr's rule if
	// free, else any free port.
	MeshPort uint16

	// Spared are ports that are not taken unasked: others of the same run file
	// were promised them.
	Spared []uint16

	// LAN lets the sidecar find and be found by other machines.
	LAN bool
	// Discovery are the sources to use, in order. Empty: local, mdns, static.
	Discovery []string
	// Peers are static peers, as [app-id=]host:port.
	Peers []string
	// ResolveTimeout bounds the wait for a name that is not known. Default 1s.
	// Of this wait and those below, zero is the default, NoWait is none.
	ResolveTimeout time.Duration
	// Hold bounds the wait for a known app. Default 10s.
	Hold time.Duration
	// StartHold bounds the wait for an app's first start. Default 60s.
	StartHold time.Duration
	// Grace is everything stopping may take. Default 10s.
	Grace time.Duration

	// AllowedOrigins and AllowedHosts widen who may use the HTTP door.
	AllowedOrigins  []string
	AllowedHosts    []string
	AllowOtherUsers bool
	// APIToken protects the doors; AppToken is sent to the app. From
	// DAPR_API_TOKEN and APP_API_TOKEN. Never logged.
	APIToken string
	AppToken string

	// AccessRules are who may call the app, in the short form of
	// access.ParsePolicy, from PILLION_ACCESS_RULES. They take the place of the
	// Configuration's access control, for tests and measurements. Empty: that
	// counts.
	AccessRules string

	// HostIP is this machine's address as others are told it, from
	// DAPR_HOST_IP. Empty: the one packets to elsewhere leave from.
	HostIP string

	// LogLevel is debug, info, warn, error. Empty: info. APILogging logs each
	// call through a door.
	LogLevel   string
	APILogging bool
	// APILoggingOff is true if somebody said no: then a Configuration that says
	// yes does not count.
	APILoggingOff bool

	// Engine is fast or standard: who speaks HTTP at the doors and to the app,
	// pillion's own code or the Go library's, which is slower and there to
	// compare with. Empty: fast.
	Engine string
	// ReadBuffer bounds the head of a request at a door, in bytes. Zero: 64 KiB,
	// which is also the most that crosses the mesh.
	ReadBuffer int64

	// Profiling opens a loopback listener for pprof at ProfilePort. Zero: 7777
	// if free, else any free port.
	Profiling   bool
	ProfilePort uint16

	// LogsPerRun and LogsTotal bound the kept logs, in bytes. Zero: the
	// store's own limits.
	LogsPerRun int64
	LogsTotal  int64

	// ListenAddresses are where the doors listen in a profile whose doors are not
	// on loopback only. Empty: everywhere. UnixDomainSocket is a folder: the
	// doors are then sockets in it and no ports.
	ListenAddresses  []string
	UnixDomainSocket string
	// PublicPort is for health and metadata only, at PublicListenAddress. Zero:
	// there is none. InternalListenAddress is where the mesh listens; empty:
	// everywhere.
	PublicPort            uint16
	PublicListenAddress   string
	InternalListenAddress string
	// Metrics are served at MetricsPort of MetricsListenAddress, if they are on.
	Metrics              bool
	MetricsPort          uint16
	MetricsListenAddress string
	// EnableMTLS is mutual TLS between sidecars in a profile that does not have
	// it anyway. SentryAddress and TrustAnchors are another authority's.
	EnableMTLS                  bool
	SentryAddress, TrustAnchors string
	// BlockShutdown is how long a sidecar goes on when it is asked to stop,
	// before it begins. DisableInitEndpoints are those of the app that are not
	// asked.
	BlockShutdown        time.Duration
	DisableInitEndpoints []string
	// AppHealth is how the app's health is asked for.
	AppHealth AppHealth
	// MaxBody bounds the bodies that are held whole, in bytes, and those of calls
	// as well, as Dapr's --max-body-size. Zero: 4 MiB for those that are held,
	// and no bound for calls. NoBound: none for any.
	MaxBody int64
	// LogAsJSON and LogFile are the form and the place of Dapr's log. Empty:
	// text on stdout.
	LogAsJSON bool
	LogFile   string

	// ResourcesPaths are the folders of Dapr's resources. Empty: the home's.
	// ConfigFiles are Dapr's Configuration resources, the later ones over the
	// earlier. Empty: none.
	ResourcesPaths []string
	ConfigFiles    []string

	// StateFile is where the built-in state store keeps its items. Empty: in the
	// home, where the profile reads that.
	StateFile string

	// RunFile is the run file the app is of, absolute; RunName is the name it
	// gives itself. Empty: none.
	RunFile string
	RunName string
	// AppLogFile and SidecarLogFile are Dapr's log files, where the run file asks
	// for them.
	AppLogFile     string
	SidecarLogFile string
}
