package httpapi

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/h1"
)

const (
	// maxExtended bounds the keys that clients may set, maxValue one value.
	maxExtended = 256
	maxValue    = 64 << 10
)

// Metadata is what GET /v1.0/metadata says, with Dapr's keys in Dapr's order.
// Empty collections are left out.
type Metadata struct {
	ID              string            `json:"id,omitempty"`
	RuntimeVersion  string            `json:"runtimeVersion,omitempty"`
	EnabledFeatures []string          `json:"enabledFeatures,omitempty"`
	Components      []Component       `json:"components,omitempty"`
	Extended        map[string]string `json:"extended,omitempty"`
	Subscriptions   []Subscription    `json:"subscriptions,omitempty"`
	HTTPEndpoints   []Named           `json:"httpEndpoints,omitempty"`
	App             AppConnection     `json:"appConnectionProperties,omitzero"`
	Actors          ActorRuntime      `json:"actorRuntime"`
	Resiliencies    []Named           `json:"resiliencies,omitempty"`
}

// Named is a resource of which only the name is told.
type Named struct {
	Name string `json:"name,omitempty"`
}

// A Component is a loaded one. Type is like state.redis.
type Component struct {
	Name         string   `json:"name,omitempty"`
	Type         string   `json:"type,omitempty"`
	Version      string   `json:"version,omitempty"`
	Capabilities []string `json:"capabilities,omitempty"`
}

// A Subscription is one of pub/sub's.
type Subscription struct {
	PubSubName      string             `json:"pubsubname"`
	Topic           string             `json:"topic"`
	Metadata        map[string]string  `json:"metadata,omitempty"`
	Rules           []SubscriptionRule `json:"rules,omitempty"`
	DeadLetterTopic string             `json:"deadLetterTopic"`
	Type            string             `json:"type"`
}

// A SubscriptionRule sends what it matches to a path.
type SubscriptionRule struct {
	Match string `json:"match,omitempty"`
	Path  string `json:"path,omitempty"`
}

// AppConnection is how the sidecar reaches its app.
type AppConnection struct {
	Port           uint16     `json:"port,omitempty"`
	Protocol       string     `json:"protocol,omitempty"`
	ChannelAddress string     `json:"channelAddress,omitempty"`
	MaxConcurrency int        `json:"maxConcurrency,omitempty"`
	Health         *AppHealth `json:"health,omitempty"`
}

// AppHealth is how the app's health is checked.
type AppHealth struct {
	Path      string `json:"healthCheckPath,omitempty"`
	Interval  string `json:"healthProbeInterval,omitempty"`
	Timeout   string `json:"healthProbeTimeout,omitempty"`
	Threshold int    `json:"healthThreshold,omitempty"`
}

// ActorRuntime is what there is of actors. Its zero value says that there are
// none, as daprd without a placement service does.
type ActorRuntime struct {
	Status    string `json:"runtimeStatus"`
	HostReady bool   `json:"hostReady"`
	Placement string `json:"placement,omitempty"`
}

// extended are the values that clients set. Its zero value is ready.
type extended struct {
	mu     sync.Mutex // guards what follows
	values map[string]string
}

// set reports whether there was room.
func (e *extended) set(key, value string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.values[key]; !known && len(e.values) >= maxExtended {
		return false
	}
	if e.values == nil {
		e.values = make(map[string]string)
	}
	e.values[key] = value
	return true
}

func (e *extended) copyTo(all map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.Copy(all, e.values)
}

// Metadata is what the door says about the sidecar: Config.Metadata and what
// clients have set. The gRPC door says the same.
func (s *Server) Metadata() Metadata {
	m := Metadata{ID: s.cfg.Self.App()}
	if s.cfg.Metadata != nil {
		m = s.cfg.Metadata()
	}
	all := make(map[string]string)
	maps.Copy(all, m.Extended)
	s.extra.copyTo(all)
	all["daprRuntimeVersion"] = m.RuntimeVersion
	m.Extended = all
	if m.Actors == (ActorRuntime{}) {
		m.Actors = ActorRuntime{Status: "DISABLED", Placement: "placement: disconnected"}
	}
	return m
}

// SetMetadata keeps a value that clients of either door see under extended
// from now on. An empty key is no value, as Dapr's.
func (s *Server) SetMetadata(key, value string) error {
	if key == "" {
		return nil
	}
	if len(value) > maxValue || !s.extra.set(key, value) {
		return &apperr.Error{
			Reason: apperr.Usage, What: "the value cannot be kept",
			Cause: fmt.Sprintf("at most %d keys of %d bytes", maxExtended, maxValue), Reached: apperr.ReachedNo,
		}
	}
	return nil
}

func (q *apiRequest) getMetadata() h1.Reply {
	return encoded(http.StatusOK, nil, q.Metadata())
}

func (q *apiRequest) setMetadata() h1.Reply {
	value, err := io.ReadAll(io.LimitReader(q.body(), maxValue+1))
	if err != nil {
		return unreadable(err)
	}
	if err := q.SetMetadata(q.param("key"), string(value)); err != nil {
		return render(false, "", apperr.From(err))
	}
	return noContent()
}
