// Package rundir is the runtime folder: one locked file for each live instance
// of this user and trust domain. Being locked by its owner is what makes an
// instance alive, not its pid (docs/adr/0006). Both discovery and the commands
// read it.
package rundir

import (
	"net/netip"
	"time"
)

// An Entry is what an instance says of itself. It is a file format: a key,
// once out, stays.
type Entry struct {
	ID          string `json:"id"` // 8 lower-case letters and digits
	App         string `json:"app"`
	Namespace   string `json:"namespace"`
	TrustDomain string `json:"trustDomain"`
	Identity    string `json:"identity"` // the SPIFFE ID
	// State is a discovery.State; AppState says more where there is more to
	// say, such as "stale".
	State string `json:"state"`
	// Mesh are the addresses of the mesh listener, best first.
	Mesh []netip.AddrPort `json:"mesh"`
	// MeshSocket is a Unix socket with the same listener behind it, for callers
	// on this machine. Empty if there is none.
	MeshSocket string `json:"meshSocket,omitempty"`
	// ClearText is true if the mesh listener speaks Dapr's protocol without
	// mutual TLS, and nothing else.
	ClearText bool `json:"clearText,omitempty"`
	// NetNS is the inode of the network namespace the addresses belong to; 0
	// where there is none.
	NetNS    uint64 `json:"netns,omitempty"`
	UID      int    `json:"uid"`
	PID      int    `json:"pid"`              // pillion's
	AppPID   int    `json:"appPid,omitempty"` // the app's first process
	AppPort  uint16 `json:"appPort,omitempty"`
	Protocol string `json:"appProtocol,omitempty"`
	HTTPPort uint16 `json:"httpPort,omitempty"`
	GRPCPort uint16 `json:"grpcPort,omitempty"`
	// MetricsPort is where its metrics are served; 0 if they are not.
	MetricsPort uint16 `json:"metricsPort,omitempty"`
	// Command is the app's command line; empty for a sidecar alone. Folder is
	// where it runs.
	Command []string  `json:"command,omitempty"`
	Folder  string    `json:"folder"`
	Home    string    `json:"home"`
	Since   time.Time `json:"since"`
	Version string    `json:"version"`
	// Run is the number of the run in the logs; 0 if its logs are not kept.
	Run int `json:"run,omitempty"`
	// RunFile is the run file the app is of, and RunName the name that gives
	// itself. AppLog and SidecarLog are Dapr's log files, where it asks for them.
	RunFile    string `json:"runFile,omitempty"`
	RunName    string `json:"runName,omitempty"`
	AppLog     string `json:"appLog,omitempty"`
	SidecarLog string `json:"sidecarLog,omitempty"`
	// Restarts is how often the app's process was replaced or started again.
	Restarts int `json:"restarts,omitempty"`
	// Stale is why what runs is not the newest source, in one line; empty if it
	// is. StaleSince is since when.
	Stale      string    `json:"stale,omitempty"`
	StaleSince time.Time `json:"staleSince,omitzero"`
	// Derived is true if nobody chose the app ID: it comes from the folder.
	Derived bool `json:"derived,omitempty"`
	// LAN is true if other machines may find the instance.
	LAN bool `json:"lan,omitempty"`
	// Changed is when the instance last said anything new of itself.
	Changed time.Time `json:"changed"`
	// Discovery are the sources it announces itself to, in the order of
	// --discovery.
	Discovery []string `json:"discovery,omitempty"`
	// CertExpires is when the present leaf ends.
	CertExpires time.Time `json:"certExpires"`
	// Socket is the control socket's path. Lock is the path of the file whose
	// lock is the instance's life.
	Socket string `json:"socket"`
	Lock   string `json:"lock"`
}
