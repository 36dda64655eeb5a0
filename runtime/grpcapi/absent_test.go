package grpcapi_test

import (
	"context"
	"testing"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/pillion-dev/pillion/runtime/grpcapi"
)

// A row is what a method of a building block that does not exist answers.
type row struct {
	method  string
	request proto.Message
	code    codes.Code
	message string
	reason  string // of the ErrorInfo; "" for no details
}

const (
	noPlacement = "placement service is not configured"
	noScheduler = "scheduler clients are disabled"
	noConfig    = "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"
	bothReasons = "DAPR_PUBSUB_NAME_EMPTY"
)

func rows() []row {
	all := []row{
		{"PublishEvent", &runtimev1.PublishEventRequest{PubsubName: "p", Topic: "t"}, codes.InvalidArgument, "pubsub p is not found", "DAPR_PUBSUB_NOT_FOUND"},
		{"PublishEvent", &runtimev1.PublishEventRequest{Topic: "t"}, codes.InvalidArgument, "pubsub name is empty", bothReasons},
		{"BulkPublishEvent", &runtimev1.BulkPublishRequest{PubsubName: "p"}, codes.InvalidArgument, "pubsub p is not found", "DAPR_PUBSUB_NOT_FOUND"},
		{"BulkPublishEventAlpha1", &runtimev1.BulkPublishRequest{PubsubName: "p"}, codes.InvalidArgument, "pubsub p is not found", "DAPR_PUBSUB_NOT_FOUND"},
		{"SubscribeTopicEventsAlpha1", &runtimev1.SubscribeTopicEventsRequestAlpha1{}, codes.Unknown, "initial request is required", ""},
		{"SubscribeTopicEventsAlpha1", initial("", "t"), codes.Unknown, "pubsubName is required", ""},
		{"SubscribeTopicEventsAlpha1", initial("p", ""), codes.Unknown, "topic is required", ""},
		{"SubscribeTopicEventsAlpha1", initial("p", "t"), codes.InvalidArgument, "pubsub p is not found", "DAPR_PUBSUB_NOT_FOUND"},

		{"InvokeBinding", &runtimev1.InvokeBindingRequest{Name: "b", Operation: "create"}, codes.Internal, "error invoking output binding b: couldn't find output binding b", "ERR_INVOKE_OUTPUT_BINDING"},
		{"InvokeBinding", &runtimev1.InvokeBindingRequest{Name: "b"}, codes.Internal, "error invoking output binding b: operation field is missing from request", "ERR_INVOKE_OUTPUT_BINDING"},

		{"GetSecret", &runtimev1.GetSecretRequest{StoreName: "s"}, codes.FailedPrecondition, "secret store is not configured", ""},
		{"GetBulkSecret", &runtimev1.GetBulkSecretRequest{StoreName: "s"}, codes.FailedPrecondition, "secret store is not configured", ""},

		{"RegisterActorTimer", &runtimev1.RegisterActorTimerRequest{ActorType: "a"}, codes.Unavailable, noPlacement, ""},
		{"RegisterActorTimer", &runtimev1.RegisterActorTimerRequest{ActorType: "dapr.internal.x"}, codes.PermissionDenied, `actor type "dapr.internal.x" is reserved for the Dapr workflow runtime; direct actor API access is not permitted`, ""},
		{"UnregisterActorTimer", &runtimev1.UnregisterActorTimerRequest{}, codes.Unavailable, noPlacement, ""},
		{"RegisterActorReminder", &runtimev1.RegisterActorReminderRequest{}, codes.Unavailable, noPlacement, ""},
		{"UnregisterActorReminder", &runtimev1.UnregisterActorReminderRequest{}, codes.Unavailable, noPlacement, ""},
		{"UnregisterActorRemindersByType", &runtimev1.UnregisterActorRemindersByTypeRequest{}, codes.Unavailable, noPlacement, ""},
		{"GetActorReminder", &runtimev1.GetActorReminderRequest{}, codes.Unavailable, noPlacement, ""},
		{"ListActorReminders", &runtimev1.ListActorRemindersRequest{}, codes.Unavailable, noPlacement, ""},
		{"GetActorState", &runtimev1.GetActorStateRequest{}, codes.Unavailable, noPlacement, ""},
		{"ExecuteActorStateTransaction", &runtimev1.ExecuteActorStateTransactionRequest{}, codes.Unavailable, noPlacement, ""},
		{"InvokeActor", &runtimev1.InvokeActorRequest{ActorType: "dapr.internal.x"}, codes.Unavailable, noPlacement, ""},
		{"SubscribeActorEventsAlpha1", &runtimev1.SubscribeActorEventsRequestAlpha1{}, codes.FailedPrecondition, "actor callback streaming requires a gRPC app channel", ""},

		{"GetConfiguration", &runtimev1.GetConfigurationRequest{}, codes.FailedPrecondition, "configuration stores not configured", noConfig},
		{"GetConfigurationAlpha1", &runtimev1.GetConfigurationRequest{}, codes.FailedPrecondition, "configuration stores not configured", noConfig},
		{"SubscribeConfiguration", &runtimev1.SubscribeConfigurationRequest{}, codes.FailedPrecondition, "configuration stores not configured", noConfig},
		{"SubscribeConfigurationAlpha1", &runtimev1.SubscribeConfigurationRequest{}, codes.FailedPrecondition, "configuration stores not configured", noConfig},
		{"UnsubscribeConfiguration", &runtimev1.UnsubscribeConfigurationRequest{Id: "i"}, codes.OK, "", ""},
		{"UnsubscribeConfigurationAlpha1", &runtimev1.UnsubscribeConfigurationRequest{Id: "i"}, codes.OK, "", ""},

		{"TryLockAlpha1", &runtimev1.TryLockRequest{StoreName: "l"}, codes.InvalidArgument, "ExpiryInSeconds is not positive in lock store l", ""},
		{"TryLockAlpha1", &runtimev1.TryLockRequest{StoreName: "l", ExpiryInSeconds: 1}, codes.FailedPrecondition, "lock store is not configured", ""},
		{"UnlockAlpha1", &runtimev1.UnlockRequest{StoreName: "l"}, codes.FailedPrecondition, "lock store is not configured", ""},

		{"EncryptAlpha1", &runtimev1.EncryptRequest{}, codes.InvalidArgument, "invalid request: first message does not contain the required options", ""},
		{"EncryptAlpha1", &runtimev1.EncryptRequest{Options: &runtimev1.EncryptRequestOptions{}}, codes.InvalidArgument, "invalid request: missing property 'keyName' in the options message", ""},
		{"EncryptAlpha1", &runtimev1.EncryptRequest{Options: &runtimev1.EncryptRequestOptions{KeyName: "k"}}, codes.InvalidArgument, "invalid request: missing property 'keyWrapAlgorithm' in the options message", ""},
		{"EncryptAlpha1", &runtimev1.EncryptRequest{Options: &runtimev1.EncryptRequestOptions{KeyName: "k", KeyWrapAlgorithm: "A"}}, codes.Internal, "crypto providers not configured", ""},
		{"EncryptAlpha1", nil, codes.Internal, "failed to perform operation: error receiving the first message: EOF", ""},
		{"DecryptAlpha1", &runtimev1.DecryptRequest{}, codes.InvalidArgument, "invalid request: first message does not contain the required options", ""},
		{"DecryptAlpha1", &runtimev1.DecryptRequest{Options: &runtimev1.DecryptRequestOptions{}}, codes.Internal, "crypto providers not configured", ""},

		{"ConverseAlpha1", &runtimev1.ConversationRequest{Name: "c"}, codes.InvalidArgument, "failed finding conversation component c", ""}, //nolint:staticcheck // clients use it
		{"ConverseAlpha2", &runtimev1.ConversationRequestAlpha2{Name: "c"}, codes.InvalidArgument, "failed finding conversation component c", ""},

		{"ScheduleJob", &runtimev1.ScheduleJobRequest{}, codes.InvalidArgument, "Job is empty", "DAPR_SCHEDULER_EMPTY"},
		{"ScheduleJob", &runtimev1.ScheduleJobRequest{Job: &runtimev1.Job{Name: "a|b"}}, codes.InvalidArgument, "Name is empty", "DAPR_SCHEDULER_JOB_NAME_EMPTY"},
		{"ScheduleJob", &runtimev1.ScheduleJobRequest{Job: &runtimev1.Job{Name: "j"}}, codes.InvalidArgument, "Schedule is empty", "DAPR_SCHEDULER_SCHEDULE_EMPTY"},
		{"ScheduleJob", &runtimev1.ScheduleJobRequest{Job: &runtimev1.Job{Name: "j", Schedule: new("@daily")}}, codes.Internal, "failed to schedule job due to: " + noScheduler, "DAPR_SCHEDULER_SCHEDULE_JOB"},
		{"ScheduleJobAlpha1", &runtimev1.ScheduleJobRequest{Job: &runtimev1.Job{Name: "j", DueTime: new("1s")}}, codes.Internal, "failed to schedule job due to: " + noScheduler, "DAPR_SCHEDULER_SCHEDULE_JOB"},
		{"GetJob", &runtimev1.GetJobRequest{}, codes.InvalidArgument, "Name is empty", "DAPR_SCHEDULER_JOB_NAME_EMPTY"},
		{"GetJob", &runtimev1.GetJobRequest{Name: "j"}, codes.Internal, "failed to get job due to: " + noScheduler, "DAPR_SCHEDULER_GET_JOB"},
		{"GetJobAlpha1", &runtimev1.GetJobRequest{Name: "j"}, codes.Internal, "failed to get job due to: " + noScheduler, "DAPR_SCHEDULER_GET_JOB"},
		{"DeleteJob", &runtimev1.DeleteJobRequest{Name: "j"}, codes.Internal, "failed to delete job due to: " + noScheduler, "DAPR_SCHEDULER_DELETE_JOB"},
		{"DeleteJobAlpha1", &runtimev1.DeleteJobRequest{}, codes.InvalidArgument, "Name is empty", "DAPR_SCHEDULER_JOB_NAME_EMPTY"},
		{"ListJobs", &runtimev1.ListJobsRequest{}, codes.Internal, "failed to list jobs due to: " + noScheduler, "DAPR_SCHEDULER_LIST_JOBS"},
		{"ListJobsAlpha1", &runtimev1.ListJobsRequestAlpha1{}, codes.Internal, "failed to list jobs due to: " + noScheduler, "DAPR_SCHEDULER_LIST_JOBS"},
		{"DeleteJobsByPrefix", &runtimev1.DeleteJobsByPrefixRequest{}, codes.Internal, "failed to delete job due to: " + noScheduler, "DAPR_SCHEDULER_DELETE_JOB"},
		{"DeleteJobsByPrefixAlpha1", &runtimev1.DeleteJobsByPrefixRequestAlpha1{}, codes.Internal, "failed to delete job due to: " + noScheduler, "DAPR_SCHEDULER_DELETE_JOB"},
	}
	// What all methods of a group answer to an empty request.
	for message, names := range map[string][]string{
		noPlacement: {
			"StartWorkflowAlpha1", "GetWorkflowAlpha1", "PurgeWorkflowAlpha1", "TerminateWorkflowAlpha1", "PauseWorkflowAlpha1", "ResumeWorkflowAlpha1", "RaiseEventWorkflowAlpha1",
			"StartWorkflowBeta1", "GetWorkflowBeta1", "PurgeWorkflowBeta1", "TerminateWorkflowBeta1", "PauseWorkflowBeta1", "ResumeWorkflowBeta1", "RaiseEventWorkflowBeta1",
		},
		"this API is currently not implemented": {
			"SubtleGetKeyAlpha1", "SubtleEncryptAlpha1", "SubtleDecryptAlpha1", "SubtleWrapKeyAlpha1", "SubtleUnwrapKeyAlpha1", "SubtleSignAlpha1", "SubtleVerifyAlpha1",
		},
	} {
		code := codes.Unavailable
		if message != noPlacement {
			code = codes.Unimplemented
		}
		for _, name := range names {
			all = append(all, row{name, types(name).request, code, message, ""})
		}
	}
	return all
}

func initial(pubsub, topic string) proto.Message {
	return &runtimev1.SubscribeTopicEventsRequestAlpha1{
		SubscribeTopicEventsRequestType: &runtimev1.SubscribeTopicEventsRequestAlpha1_InitialRequest{
			InitialRequest: &runtimev1.SubscribeTopicEventsRequestInitialAlpha1{PubsubName: pubsub, Topic: topic},
		},
	}
}

// A signature is a method's messages.
type signature struct{ request, answer proto.Message }

func types(name string) signature {
	d := runtimev1.File_dapr_proto_runtime_v1_dapr_proto.Services().ByName("Dapr").Methods().ByName(protoreflect.Name(name))
	message := func(d protoreflect.MessageDescriptor) proto.Message {
		t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
		if err != nil {
			panic(err)
		}
		return t.New().Interface()
	}
	return signature{message(d.Input()), message(d.Output())}
}

// Without its component each method answers as daprd does, streams included.
func TestMethodsOfBuildingBlocksThatAreNotThere(t *testing.T) {
	t.Parallel()
	conn := serve(t, grpcapi.Config{})
	stream := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	streams := make(map[string]bool)
	for _, d := range runtimev1.Dapr_ServiceDesc.Streams {
		streams[d.StreamName] = true
	}
	tried := make(map[string]bool)
	for _, r := range rows() {
		tried[r.method] = true
		name := "/dapr.proto.runtime.v1.Dapr/" + r.method
		answer := types(r.method).answer
		if !streams[r.method] {
			want(t, r.method, conn.Invoke(patient(t), name, r.request, answer), problem{r.code, r.message, r.reason})
			continue
		}
		s, err := conn.NewStream(patient(t), stream, name)
		if err != nil {
			t.Fatal(err)
		}
		if r.request != nil {
			if err := s.SendMsg(r.request); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		want(t, r.method, s.RecvMsg(answer), problem{r.code, r.message, r.reason})
	}
	for _, name := range []string{
		"InvokeService", "GetMetadata", "SetMetadata", "Shutdown", "GetState", "GetBulkState", "SaveState", "DeleteState",
		"DeleteBulkState", "ExecuteStateTransaction", "QueryStateAlpha1",
	} {
		tried[name] = true
	}
	for _, d := range runtimev1.Dapr_ServiceDesc.Methods {
		if !tried[d.MethodName] {
			t.Errorf("nobody knows what %s answers", d.MethodName)
		}
	}
	for name := range streams {
		if !tried[name] {
			t.Errorf("nobody knows what %s answers", name)
		}
	}
}

// The one method of an absent block that answers well, and what differs for an
// app that speaks gRPC.
func TestMethodsThatDependOnMore(t *testing.T) {
	t.Parallel()
	cl := client(t, grpcapi.Config{SpeaksGRPC: true})
	out, err := cl.UnsubscribeConfiguration(patient(t), &runtimev1.UnsubscribeConfigurationRequest{Id: "i"})
	if err != nil || out.GetOk() || out.GetMessage() != "failed to unsubscribe to configuration request i: subscription does not exist" {
		t.Errorf("%v, %v", out, err)
	}
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	events, err := cl.SubscribeActorEventsAlpha1(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Send(&runtimev1.SubscribeActorEventsRequestAlpha1{}); err != nil {
		t.Fatal(err)
	}
	_, err = events.Recv()
	want(t, "actor events", err, problem{codes.Unavailable, noPlacement, ""})
}
