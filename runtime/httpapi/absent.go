package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/internal/daprerr"
	"github.com/pillion-dev/pillion/runtime/h1"
)

// What the endpoints of building blocks answer that do not exist here: as daprd
// without a component, a placement service or a scheduler.

func noPubSub(q *apiRequest) h1.Reply {
	return apiError(&daprerr.Error{
		HTTP: http.StatusNotFound, Code: "ERR_PUBSUB_NOT_FOUND", Message: "pubsub " + q.param("pubsub") + " is not found",
		Info: &daprerr.Info{Reason: "DAPR_PUBSUB_NOT_FOUND", Metadata: q.metadata()},
	})
}

func noBinding(q *apiRequest) h1.Reply {
	var req struct {
		Metadata  map[string]string `json:"metadata"`
		Data      json.RawMessage   `json:"data"`
		Operation string            `json:"operation"`
	}
	if err := q.decode(&req, "http.OutputBindingRequest"); err != nil {
		return malformed(err)
	}
	name := q.param("name")
	why := "couldn't find output binding " + name
	if req.Operation == "" {
		why = "operation field is missing from request"
	}
	return basicError(http.StatusInternalServerError, "ERR_INVOKE_OUTPUT_BINDING",
		"error invoking output binding "+name+": "+why)
}

func noConfigurationStore(*apiRequest) h1.Reply {
	return basicError(http.StatusInternalServerError, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", "configuration stores not configured")
}

func noCrypto(*apiRequest) h1.Reply {
	return basicError(http.StatusInternalServerError, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", "crypto providers not configured")
}

// notBuilt are the endpoints that daprd has only if it was built for them.
func notBuilt(q *apiRequest) h1.Reply {
	if reply, ok := q.object(&struct{}{}); !ok {
		return reply
	}
	return basicError(http.StatusNotImplemented, "ERR_API_UNIMPLEMENTED", "this API is currently not implemented")
}

func noConversation(q *apiRequest) h1.Reply {
	if reply, ok := q.object(&struct{}{}); !ok {
		return reply
	}
	return basicError(http.StatusBadRequest, "ERR_CONVERSATION_NOT_FOUND", "failed finding conversation component "+q.param("name"))
}

func noLock(q *apiRequest) h1.Reply {
	var req struct {
		Expiry  json.Number `json:"expiryInSeconds"`
		Expiry2 json.Number `json:"expiry_in_seconds"`
	}
	if reply, ok := q.object(&req); !ok {
		return reply
	}
	if !positive(req.Expiry) && !positive(req.Expiry2) {
		return basicError(http.StatusBadRequest, codeMalformed, "ExpiryInSeconds is not positive in lock store "+q.param("store"))
	}
	return noLockStore()
}

func positive(n json.Number) bool {
	value, err := n.Int64()
	return err == nil && value > 0
}

func noUnlock(q *apiRequest) h1.Reply {
	if reply, ok := q.object(&struct{}{}); !ok {
		return reply
	}
	return noLockStore()
}

func noLockStore() h1.Reply {
	return basicError(http.StatusInternalServerError, "ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured")
}

// reservedActors begins the types of actors that are Dapr's own.
const reservedActors = "dapr.internal."

func noPlacement(*apiRequest) h1.Reply {
	return basicError(http.StatusBadRequest, "ERR_ACTOR_NO_PLACEMENT", "placement service is not configured")
}

func noActor(q *apiRequest) h1.Reply {
	if kind := q.param("type"); strings.HasPrefix(kind, reservedActors) {
		return basicError(http.StatusForbidden, "ERR_ACTOR_TYPE_RESERVED", "actor type "+strconv.Quote(kind)+
			" is reserved for the Dapr workflow runtime; direct actor API access is not permitted")
	}
	return noPlacement(q)
}

func noActorTransaction(q *apiRequest) h1.Reply {
	if strings.HasPrefix(q.param("type"), reservedActors) {
		return noActor(q)
	}
	var operations []struct {
		Operation string          `json:"operation"`
		Request   json.RawMessage `json:"request"`
	}
	if err := q.decode(&operations, "[]api.TransactionalOperation"); err != nil {
		return malformed(err)
	}
	return noPlacement(q)
}

// noActorSchedule is for reminders and timers.
func noActorSchedule(q *apiRequest) h1.Reply {
	if strings.HasPrefix(q.param("type"), reservedActors) {
		return noActor(q)
	}
	if err := q.decode(&struct{}{}, "api.CreateReminderRequest"); err != nil {
		return malformed(err)
	}
	if why := badName(q.param("name")); why != "" {
		return basicError(http.StatusBadRequest, codeBadRequest, "invalid request: "+why)
	}
	return noPlacement(q)
}

// badName is what is wrong with the name of a reminder or a timer.
func badName(name string) string {
	if strings.ContainsAny(name, "#?\x00/\\") {
		return "name contains forbidden character: " + strconv.Quote(name)
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] == 0x7f {
			return "name contains control character at position " + strconv.Itoa(i) + ": " + strconv.Quote(name)
		}
	}
	if name == "." || name == ".." {
		return "name is a path traversal sequence: " + strconv.Quote(name)
	}
	return ""
}

func noWorkflow(q *apiRequest) h1.Reply {
	if reply, ok := q.object(&struct{}{}); !ok {
		return reply
	}
	return noPlacement(q)
}

// noWorkflowWithInput is for those whose body is the workflow's, whatever it is.
func noWorkflowWithInput(q *apiRequest) h1.Reply {
	if reply, ok := q.skipBody(); !ok {
		return reply
	}
	return noPlacement(q)
}

func noJobSchedule(q *apiRequest) h1.Reply {
	var job struct {
		Name     string  `json:"name"`
		Schedule *string `json:"schedule"`
		DueTime  *string `json:"dueTime"`
		DueTime2 *string `json:"due_time"`
	}
	if reply, ok := q.object(&job); !ok {
		return reply
	}
	name := strings.TrimSpace(q.param("name"))
	switch {
	case job.Name != "":
		return jobError(http.StatusBadRequest, "DAPR_SCHEDULER_JOB_NAME", "Set the job name in the url only",
			map[string]string{"appID": q.cfg.Self.App()})
	case name == "" || strings.Contains(name, "|"):
		return jobError(http.StatusBadRequest, "DAPR_SCHEDULER_JOB_NAME_EMPTY", "Name is empty", q.self())
	case job.Schedule == nil && job.DueTime == nil && job.DueTime2 == nil:
		return jobError(http.StatusBadRequest, "DAPR_SCHEDULER_SCHEDULE_EMPTY", "Schedule is empty", q.self())
	}
	return q.noScheduler("DAPR_SCHEDULER_SCHEDULE_JOB", "schedule")
}

func noJob(q *apiRequest) h1.Reply { return q.noScheduler("DAPR_SCHEDULER_GET_JOB", "get") }

func noJobDelete(q *apiRequest) h1.Reply { return q.noScheduler("DAPR_SCHEDULER_DELETE_JOB", "delete") }

func (q *apiRequest) noScheduler(reason, verb string) h1.Reply {
	return jobError(http.StatusInternalServerError, reason, "failed to "+verb+" job due to: scheduler clients are disabled", q.self())
}

// jobError is one of the jobs API, whose code is its reason.
func jobError(status int, reason, message string, about map[string]string) h1.Reply {
	return apiError(&daprerr.Error{
		HTTP: status, Code: reason, Message: message, Info: &daprerr.Info{Reason: reason, Metadata: about},
	})
}

// self is whose sidecar this is, as details have it.
func (q *apiRequest) self() map[string]string {
	return map[string]string{"appID": q.cfg.Self.App(), "namespace": q.cfg.Self.Namespace()}
}
