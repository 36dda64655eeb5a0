package httpapi

// Groups that more than their own endpoints speak of.
const (
	groupHealth   = "healthz"
	groupMetadata = "metadata"
)

// Versions of the API.
const (
	v1         = "v1.0"
	alpha1     = "v1.0-alpha1"
	alpha2     = "v1.0-alpha2"
	v1Alpha1   = v1 + " " + alpha1
	everyStage = v1 + " " + alpha1 + " v1.0-beta1"
)

// endpoints are the routes of Dapr's API beside invocation, in the order they
// are tried. Those of blocks that do not exist here answer as daprd does without
// a component of theirs: which of a request's mistakes it finds first is part of
// that. A request that fits none of them, a wrong verb included, is a call.
var endpoints = []endpoint{
	{"GET", v1, "healthz", "Healthz", (*apiRequest).health},
	{"GET", v1, "healthz/outbound", "HealthzOutbound", (*apiRequest).outboundHealth},
	{"GET", v1, "metadata", "GetMetadata", (*apiRequest).getMetadata},
	{"PUT", v1, "metadata/{key}", "PutMetadata", (*apiRequest).setMetadata},
	{"POST", v1, "shutdown", "Shutdown", (*apiRequest).shutdown},

	{"POST PUT", v1, "state/{store}", "SaveState", (*apiRequest).saveState},
	{"POST PUT", v1, "state/{store}/bulk", "GetBulkState", (*apiRequest).bulkGetState},
	{"POST PUT", v1, "state/{store}/transaction", "ExecuteStateTransaction", (*apiRequest).transactState},
	{"GET", v1, "state/{store}/{key}", "GetState", (*apiRequest).getState},
	{"DELETE", v1, "state/{store}/{key}", "DeleteState", (*apiRequest).deleteState},
	{"POST PUT", alpha1, "state/{store}/query", "QueryStateAlpha1", (*apiRequest).queryState},

	{"GET", v1, "secrets/{store}/bulk", "GetBulkSecret", (*apiRequest).bulkGetSecret},
	{"GET", v1, "secrets/{store}/{key}", "GetSecret", (*apiRequest).getSecret},

	{"POST PUT", v1, "publish/bulk/{pubsub}/*", "BulkPublishEvent", noPubSub},
	{"POST PUT", alpha1, "publish/bulk/{pubsub}/*", "BulkPublishEvent", noPubSub},
	{"POST PUT", v1, "publish/{pubsub}/*", "PublishEvent", noPubSub},

	{"POST PUT", v1, "bindings/{name}", "InvokeBinding", noBinding},

	{"GET POST PUT DELETE", v1, "actors/{type}/{id}/method/{method}", "InvokeActor/{type}.{id}", noPlacement},
	{"POST PUT", v1, "actors/{type}/{id}/state", "ExecuteActorStateTransaction", noActorTransaction},
	{"GET", v1, "actors/{type}/{id}/state/{key}", "GetActorState", noActor},
	{"POST PUT", v1, "actors/{type}/{id}/reminders/{name}", "RegisterActorReminder", noActorSchedule},
	{"GET", v1, "actors/{type}/{id}/reminders/{name}", "GetActorReminder", noActor},
	{"DELETE", v1, "actors/{type}/{id}/reminders/{name}", "UnregisterActorReminder", noActor},
	{"POST PUT", v1, "actors/{type}/{id}/timers/{name}", "RegisterActorTimer", noActorSchedule},
	{"DELETE", v1, "actors/{type}/{id}/timers/{name}", "UnregisterActorTimer", noActor},

	{"GET", v1Alpha1, "configuration/{store}", "GetConfiguration", noConfigurationStore},
	{"GET", v1Alpha1, "configuration/{store}/subscribe", "SubscribeConfiguration", noConfigurationStore},
	{"GET", v1Alpha1, "configuration/{store}/{id}/unsubscribe", "UnsubscribeConfiguration", noConfigurationStore},

	{"POST", alpha1, "lock/{store}", "TryLock", noLock},
	{"POST", alpha1, "unlock/{store}", "Unlock", noUnlock},

	{"PUT", alpha1, "crypto/{name}/encrypt", "Encrypt", noCrypto},
	{"PUT", alpha1, "crypto/{name}/decrypt", "Decrypt", noCrypto},
	{"POST", alpha1, "subtlecrypto/{name}/getkey", "SubtleGetKey", notBuilt},
	{"POST", alpha1, "subtlecrypto/{name}/encrypt", "SubtleEncrypt", notBuilt},
	{"POST", alpha1, "subtlecrypto/{name}/decrypt", "SubtleDecrypt", notBuilt},
	{"POST", alpha1, "subtlecrypto/{name}/wrapkey", "SubtleWrapKey", notBuilt},
	{"POST", alpha1, "subtlecrypto/{name}/unwrapkey", "SubtleUnwrapKey", notBuilt},
	{"POST", alpha1, "subtlecrypto/{name}/sign", "SubtleSign", notBuilt},
	{"POST", alpha1, "subtlecrypto/{name}/verify", "SubtleVerify", notBuilt},

	{"GET", everyStage, "workflows/{component}/{instance}", "GetWorkflow", noWorkflow},
	{"POST", everyStage, "workflows/{component}/{instance}/raiseEvent/{event}", "RaiseEventWorkflow", noWorkflowWithInput},
	{"POST", everyStage, "workflows/{component}/{workflow}/start", "StartWorkflow", noWorkflowWithInput},
	{"POST", everyStage, "workflows/{component}/{instance}/pause", "PauseWorkflow", noWorkflow},
	{"POST", everyStage, "workflows/{component}/{instance}/resume", "ResumeWorkflow", noWorkflow},
	{"POST", everyStage, "workflows/{component}/{instance}/terminate", "TerminateWorkflow", noWorkflow},
	{"POST", everyStage, "workflows/{component}/{instance}/purge", "PurgeWorkflow", noWorkflow},

	{"POST", v1Alpha1, "jobs/{name}", "ScheduleJob", noJobSchedule},
	{"GET", v1Alpha1, "jobs/{name}", "GetJob", noJob},
	{"DELETE", v1Alpha1, "jobs/{name}", "DeleteJob", noJobDelete},

	{"POST", alpha1 + " " + alpha2, "conversation/{name}/converse", "Converse", noConversation},
}
