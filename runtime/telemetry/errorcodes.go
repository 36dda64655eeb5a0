package telemetry

import "strings"

// categories are what Dapr sorts its error codes into: by a code's name, or by
// how it begins. The first that fits is taken.
var categories = []struct{ begins, category string }{
	{"ERR_DIRECT_INVOKE", "service-invocation"},
	{"ERR_MALFORMED_RE", "common"}, // REQUEST, REQUEST_DATA, RESPONSE
	{"ERR_STATE_", "state"},
	{"ERR_NOT_SUPPORTED_STATE_OPERATION", "state"},
	{"DAPR_STATE_", "state"},
	{"ERR_ACTOR_", "actor"},
	{"ERR_GET_WORKFLOW", "workflow"},
	{"ERR_START_WORKFLOW", "workflow"},
	{"ERR_PAUSE_WORKFLOW", "workflow"},
	{"ERR_RESUME_WORKFLOW", "workflow"},
	{"ERR_TERMINATE_WORKFLOW", "workflow"},
	{"ERR_PURGE_WORKFLOW", "workflow"},
	{"ERR_RAISE_EVENT_WORKFLOW", "workflow"},
	{"ERR_WORKFLOW_", "workflow"},
	{"ERR_INSTANCE_ID_", "workflow"},
	{"ERR_CONFIGURATION_", "configuration"},
	{"ERR_CRYPTO", "crypto"},
	{"ERR_SECRET_", "secret"},
	{"ERR_PERMISSION_DENIED", "secret"},
	{"ERR_PUBSUB_", "pubsub"},
	{"ERR_PUBLISH_OUTBOX", "pubsub"},
	{"ERR_TOPIC_NAME_EMPTY", "pubsub"},
	{"DAPR_PUBSUB_", "pubsub"},
	{"ERR_CONVERSATION_", "conversation"},
	{"ERR_INVOKE_OUTPUT_BINDING", "binding"},
	{"ERR_LOCK_", "lock"},
	{"ERR_TRY_LOCK", "lock"},
	{"ERR_UNLOCK", "lock"},
	{"ERR_HEALTH_", "health"},
	{"ERR_OUTBOUND_HEALTH_", "health"},
	{"DAPR_SCHEDULER_", "job"},
}

// categoryOf is the category of an error code: common for what is in none.
func categoryOf(code string) string {
	for _, c := range categories {
		if strings.HasPrefix(code, c.begins) {
			return c.category
		}
	}
	return "common"
}
