package httpapi

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// The sidecar's own routes, as builtinPath has them.
const (
	pathHealth   = "v1.0/healthz"
	pathOutbound = "v1.0/healthz/outbound"
	pathMetadata = "v1.0/metadata"
	pathShutdown = "v1.0/shutdown"
)

const (
	// maxExtended bounds the keys that clients may set, maxValue one value.
	maxExtended = 256
	maxValue    = 64 << 10
)

// builtin answers the sidecar's own routes and reports whether r was for one.
// A wrong verb is not, as with Dapr.
func (d *door) builtin(w http.ResponseWriter, r *http.Request, path string) bool {
	switch {
	case path == "":
		return false
	case path == pathHealth && r.Method == http.MethodGet:
		d.health(w, r)
	case path == pathOutbound && r.Method == http.MethodGet:
		writeHealth(w, d.cfg.NotReadyOutbound, "ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready: ")
	case path == pathMetadata && r.Method == http.MethodGet:
		write(w, jsonReply(http.StatusOK, nil, d.metadata()))
	case strings.HasPrefix(path, pathMetadata+"/") && r.Method == http.MethodPut:
		d.setMetadata(w, r, strings.TrimPrefix(path, pathMetadata+"/"))
	case path == pathShutdown && r.Method == http.MethodPost && d.cfg.Shutdown != nil:
		w.WriteHeader(http.StatusNoContent)
		d.cfg.Shutdown(strings.EqualFold(r.Header.Get("Dapr-Force-Shutdown"), "true"))
	default:
		return false
	}
	return true
}

func (d *door) health(w http.ResponseWriter, r *http.Request) {
	if !isReady(d.cfg.NotReady) {
		writeHealth(w, d.cfg.NotReady, "ERR_HEALTH_NOT_READY", "dapr is not ready: ")
		return
	}
	if id := r.URL.Query().Get("appid"); id != "" && id != d.cfg.Self.App() {
		writeOwn(w, "ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func isReady(missing func() []string) bool { return missing == nil || len(missing()) == 0 }

func writeHealth(w http.ResponseWriter, missing func() []string, code, text string) {
	var names []string
	if missing != nil {
		names = missing()
	}
	if len(names) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeOwn(w, code, text+fmt.Sprint(names))
}

// writeOwn is an error of one of the sidecar's own routes.
func writeOwn(w http.ResponseWriter, code, message string) {
	fields := invoke.Fields{
		{Name: invoke.FieldError, Value: code},
		{Name: invoke.FieldHop, Value: string(apperr.HopSidecar)},
	}
	write(w, jsonReply(http.StatusInternalServerError, fields, apperr.Body{ErrorCode: code, Message: message}))
}

// Metadata is what GET /v1.0/metadata says, with Dapr's keys.
type Metadata struct {
	ID              string            `json:"id"`
	RuntimeVersion  string            `json:"runtimeVersion"`
	EnabledFeatures []string          `json:"enabledFeatures,omitempty"`
	Extended        map[string]string `json:"extended,omitempty"`
	App             *AppConnection    `json:"appConnectionProperties,omitempty"`
}

// AppConnection is how the sidecar reaches its app.
type AppConnection struct {
	Port           uint16 `json:"port,omitempty"`
	Protocol       string `json:"protocol,omitempty"`
	ChannelAddress string `json:"channelAddress,omitempty"`
	MaxConcurrency int    `json:"maxConcurrency,omitempty"`
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

func (d *door) metadata() Metadata {
	m := Metadata{ID: d.cfg.Self.App()}
	if d.cfg.Metadata != nil {
		m = d.cfg.Metadata()
	}
	all := map[string]string{"daprRuntimeVersion": m.RuntimeVersion}
	maps.Copy(all, m.Extended)
	d.extra.mu.Lock()
	defer d.extra.mu.Unlock()
	maps.Copy(all, d.extra.values)
	m.Extended = all
	return m
}

func (d *door) setMetadata(w http.ResponseWriter, r *http.Request, key string) {
	if plain, err := url.PathUnescape(key); err == nil {
		key = plain
	}
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxValue))
	if err != nil || !d.extra.set(key, string(value)) {
		write(w, render(false, "", &apperr.Error{
			Reason: apperr.Usage, What: "the value cannot be kept",
			Cause: fmt.Sprintf("at most %d keys of %d bytes", maxExtended, maxValue), Reached: apperr.ReachedNo,
		}))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
