package httpapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/pillion-dev/pillion/runtime/h1"
)

// The health endpoints, as apiPath has them.
const (
	pathHealth   = v1 + "/healthz"
	pathOutbound = v1 + "/healthz/outbound"
)

func (q *apiRequest) health() h1.Reply {
	if missing := waiting(q.cfg.NotReady); len(missing) > 0 {
		return basicError(http.StatusInternalServerError, "ERR_HEALTH_NOT_READY", "dapr is not ready: "+fmt.Sprint(missing))
	}
	if query := q.r.URL.Query(); query.Has("appid") && query.Get("appid") != q.cfg.Self.App() {
		return basicError(http.StatusInternalServerError, "ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")
	}
	return noContent()
}

// outboundHealth is whether the app can call others, which it may have to do
// before it is ready itself.
func (q *apiRequest) outboundHealth() h1.Reply {
	if len(waiting(q.cfg.NotReadyOutbound)) > 0 {
		return basicError(http.StatusInternalServerError, "ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready")
	}
	return noContent()
}

// waiting is what missing names; it may be nil.
func waiting(missing func() []string) []string {
	if missing == nil {
		return nil
	}
	return missing()
}

// shutdown asks for the end, which comes once the answer has been written.
func (q *apiRequest) shutdown() h1.Reply {
	now := strings.EqualFold(q.r.Header.Get("Dapr-Force-Shutdown"), "true")
	if q.cfg.Shutdown != nil {
		q.after = func() { q.cfg.Shutdown(now) }
	}
	return noContent()
}
