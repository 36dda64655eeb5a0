package grpcapi

import "github.com/pillion-dev/pillion/runtime/apilist"

// apis are the groups that rules name methods by.
var apis = map[apilist.API][]string{
	{Name: "invoke", Version: "v1"}: {"InvokeService"},
	{Name: "state", Version: "v1"}: {
		"GetState", "GetBulkState", "SaveState", "DeleteState", "DeleteBulkState", "ExecuteStateTransaction",
	},
	{Name: "state", Version: "v1alpha1"}:     {"QueryStateAlpha1"},
	{Name: "publish", Version: "v1"}:         {"PublishEvent", "BulkPublishEvent"},
	{Name: "publish", Version: "v1alpha1"}:   {"BulkPublishEventAlpha1"},
	{Name: "subscribe", Version: "v1alpha1"}: {"SubscribeTopicEventsAlpha1"},
	{Name: "bindings", Version: "v1"}:        {"InvokeBinding"},
	{Name: "secrets", Version: "v1"}:         {"GetSecret", "GetBulkSecret"},
	{Name: "actors", Version: "v1"}: {
		"RegisterActorTimer", "UnregisterActorTimer", "RegisterActorReminder", "GetActorReminder", "UnregisterActorReminder",
		"UnregisterActorRemindersByType", "ListActorReminders", "GetActorState", "ExecuteActorStateTransaction", "InvokeActor",
	},
	{Name: "actors", Version: "v1alpha1"}: {"SubscribeActorEventsAlpha1"},
	{Name: "metadata", Version: "v1"}:     {"GetMetadata", "SetMetadata"},
	{Name: "configuration", Version: "v1"}: {
		"GetConfiguration", "SubscribeConfiguration", "UnsubscribeConfiguration",
	},
	{Name: "configuration", Version: "v1alpha1"}: {
		"GetConfigurationAlpha1", "SubscribeConfigurationAlpha1", "UnsubscribeConfigurationAlpha1",
	},
	{Name: "lock", Version: "v1alpha1"}:   {"TryLockAlpha1"},
	{Name: "unlock", Version: "v1alpha1"}: {"UnlockAlpha1"},
	{Name: "crypto", Version: "v1alpha1"}: {"EncryptAlpha1", "DecryptAlpha1"},
	{Name: "subtlecrypto", Version: "v1alpha1"}: {
		"SubtleGetKeyAlpha1", "SubtleEncryptAlpha1", "SubtleDecryptAlpha1", "SubtleSignAlpha1", "SubtleVerifyAlpha1",
		"SubtleWrapKeyAlpha1", "SubtleUnwrapKeyAlpha1",
	},
	{Name: "workflows", Version: "v1alpha1"}: workflow("Alpha1"),
	{Name: "workflows", Version: "v1beta1"}:  workflow("Beta1"),
	{Name: "jobs", Version: "v1alpha1"}: {
		"ScheduleJobAlpha1", "DeleteJobAlpha1", "GetJobAlpha1", "DeleteJobsByPrefixAlpha1", "ListJobsAlpha1",
	},
	{Name: "jobs", Version: "v1"}: {
		"ScheduleJob", "DeleteJob", "GetJob", "DeleteJobsByPrefix", "ListJobs",
	},
	{Name: "shutdown", Version: "v1"}:           {"Shutdown"},
	{Name: "conversation", Version: "v1alpha1"}: {"ConverseAlpha1"},
	{Name: "conversation", Version: "v1alpha2"}: {"ConverseAlpha2"},
}

func workflow(version string) []string {
	var names []string
	for _, operation := range []string{"Start", "Get", "Purge", "Terminate", "Pause", "Resume", "RaiseEvent"} {
		names = append(names, operation+"Workflow"+version)
	}
	return names
}

// groups are the methods' groups.
func groups() map[string]apilist.API {
	all := make(map[string]apilist.API)
	for api, names := range apis {
		for _, name := range names {
			all[name] = api
		}
	}
	return all
}
