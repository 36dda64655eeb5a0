package grpcapi

import (
	"context"
	"errors"
	"strings"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-dev/pillion/internal/daprerr"
)

// absent are the methods of building blocks that do not exist here: each
// answers as Dapr does where the block is not configured, checks of the request
// that come first included.
func (s *Server) absent() map[string]method {
	table := map[string]func(proto.Message) error{
		"PublishEvent":               pubsub,
		"BulkPublishEvent":           pubsub,
		"BulkPublishEventAlpha1":     pubsub,
		"SubscribeTopicEventsAlpha1": subscribe,

		"InvokeBinding": binding,

		"RegisterActorTimer":             actor,
		"UnregisterActorTimer":           actor,
		"RegisterActorReminder":          actor,
		"UnregisterActorReminder":        actor,
		"UnregisterActorRemindersByType": actor,
		"GetActorReminder":               actor,
		"ListActorReminders":             actor,
		"GetActorState":                  actor,
		"ExecuteActorStateTransaction":   actor,
		"InvokeActor":                    noPlacement,
		"SubscribeActorEventsAlpha1":     s.actorEvents,

		"GetConfiguration":             noConfiguration,
		"GetConfigurationAlpha1":       noConfiguration,
		"SubscribeConfiguration":       noConfiguration,
		"SubscribeConfigurationAlpha1": noConfiguration,

		"TryLockAlpha1": tryLock,
		"UnlockAlpha1":  noLock,

		"EncryptAlpha1":            encrypt,
		"DecryptAlpha1":            decrypt,
		"SubtleGetKeyAlpha1":       noSubtleCrypto,
		"SubtleEncryptAlpha1":      noSubtleCrypto,
		"SubtleDecryptAlpha1":      noSubtleCrypto,
		"SubtleWrapKeyAlpha1":      noSubtleCrypto,
		"SubtleUnwrapKeyAlpha1":    noSubtleCrypto,
		"SubtleSignAlpha1":         noSubtleCrypto,
		"SubtleVerifyAlpha1":       noSubtleCrypto,
		"ConverseAlpha1":           converse,
		"ConverseAlpha2":           converse,
		"ScheduleJob":              s.scheduleJob,
		"ScheduleJobAlpha1":        s.scheduleJob,
		"GetJob":                   s.namedJob("DAPR_SCHEDULER_GET_JOB", "failed to get job due to: "),
		"GetJobAlpha1":             s.namedJob("DAPR_SCHEDULER_GET_JOB", "failed to get job due to: "),
		"DeleteJob":                s.namedJob("DAPR_SCHEDULER_DELETE_JOB", "failed to delete job due to: "),
		"DeleteJobAlpha1":          s.namedJob("DAPR_SCHEDULER_DELETE_JOB", "failed to delete job due to: "),
		"DeleteJobsByPrefix":       s.jobs("DAPR_SCHEDULER_DELETE_JOB", "failed to delete job due to: "),
		"ListJobs":                 s.jobs("DAPR_SCHEDULER_LIST_JOBS", "failed to list jobs due to: "),
		"ListJobsAlpha1":           s.jobs("DAPR_SCHEDULER_LIST_JOBS", "failed to list jobs due to: "),
		"DeleteJobsByPrefixAlpha1": s.jobs("DAPR_SCHEDULER_DELETE_JOB", "failed to delete job due to: "),
	}
	for _, operation := range []string{"Start", "Get", "Purge", "Terminate", "Pause", "Resume", "RaiseEvent"} {
		for _, version := range []string{"Alpha1", "Beta1"} {
			table[operation+"Workflow"+version] = noPlacement
		}
	}
	all := make(map[string]method, len(table)+2)
	for name, refuse := range table {
		all[name] = func(_ context.Context, request proto.Message) (proto.Message, error) {
			return nil, failure(refuse(request))
		}
	}
	// The one that answers well.
	all["UnsubscribeConfiguration"] = on(unsubscribe)
	all["UnsubscribeConfigurationAlpha1"] = on(unsubscribe)
	return all
}

// refusal is an error without details.
func refusal(code uint32, message string) error { return &daprerr.Error{GRPC: code, Message: message} }

// detailed is an error with an ErrorInfo of the reason.
func detailed(code uint32, message, reason string, metadata map[string]string) *daprerr.Error {
	return &daprerr.Error{GRPC: code, Message: message, Info: &daprerr.Info{Reason: reason, Metadata: metadata}}
}

func pubsub(request proto.Message) error {
	in, ok := request.(interface{ GetPubsubName() string })
	if !ok {
		return errMessage
	}
	if in.GetPubsubName() == "" {
		var metadata map[string]string
		if with, ok := request.(interface{ GetMetadata() map[string]string }); ok {
			metadata = with.GetMetadata()
		}
		e := detailed(daprerr.GRPCInvalidArgument, "pubsub name is empty", "DAPR_PUBSUB_NAME_EMPTY", metadata)
		e.Resource = &daprerr.Resource{Type: "pubsub", Description: e.Message}
		return e
	}
	return noPubsub(in.GetPubsubName())
}

func noPubsub(name string) error {
	return detailed(daprerr.GRPCInvalidArgument, "pubsub "+name+" is not found", "DAPR_PUBSUB_NOT_FOUND", nil)
}

func subscribe(request proto.Message) error {
	in, ok := request.(*runtimev1.SubscribeTopicEventsRequestAlpha1)
	first := in.GetInitialRequest()
	switch {
	case !ok:
		return errMessage
	case first == nil:
		return refusal(daprerr.GRPCUnknown, "initial request is required")
	case first.GetPubsubName() == "":
		return refusal(daprerr.GRPCUnknown, "pubsubName is required")
	case first.GetTopic() == "":
		return refusal(daprerr.GRPCUnknown, "topic is required")
	}
	return noPubsub(first.GetPubsubName())
}

func binding(request proto.Message) error {
	in, ok := request.(*runtimev1.InvokeBindingRequest)
	if !ok {
		return errMessage
	}
	why := "couldn't find output binding " + in.GetName()
	if in.GetOperation() == "" {
		why = "operation field is missing from request"
	}
	return detailed(daprerr.GRPCInternal, "error invoking output binding "+in.GetName()+": "+why, "ERR_INVOKE_OUTPUT_BINDING", nil)
}

// actor refuses the types of Dapr's own workflows first.
func actor(request proto.Message) error {
	in, ok := request.(interface{ GetActorType() string })
	if !ok {
		return errMessage
	}
	if kind := in.GetActorType(); strings.HasPrefix(kind, "dapr.internal.") {
		return refusal(daprerr.GRPCPermissionDenied, `actor type "`+kind+
			`" is reserved for the Dapr workflow runtime; direct actor API access is not permitted`)
	}
	return noPlacement(request)
}

// noPlacement is the answer of everything that needs actors, workflows too.
func noPlacement(proto.Message) error {
	return refusal(daprerr.GRPCUnavailable, "placement service is not configured")
}

func (s *Server) actorEvents(request proto.Message) error {
	if s.cfg.SpeaksGRPC {
		return noPlacement(request)
	}
	return refusal(daprerr.GRPCFailedPrecondition, "actor callback streaming requires a gRPC app channel")
}

func noConfiguration(proto.Message) error {
	return detailed(daprerr.GRPCFailedPrecondition, "configuration stores not configured", "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", nil)
}

func unsubscribe(_ context.Context, in *runtimev1.UnsubscribeConfigurationRequest) (*runtimev1.UnsubscribeConfigurationResponse, error) {
	return &runtimev1.UnsubscribeConfigurationResponse{
		Message: "failed to unsubscribe to configuration request " + in.GetId() + ": subscription does not exist",
	}, nil
}

func tryLock(request proto.Message) error {
	in, ok := request.(*runtimev1.TryLockRequest)
	if !ok {
		return errMessage
	}
	if in.GetExpiryInSeconds() <= 0 {
		return refusal(daprerr.GRPCInvalidArgument, "ExpiryInSeconds is not positive in lock store "+in.GetStoreName())
	}
	return noLock(request)
}

func noLock(proto.Message) error {
	return refusal(daprerr.GRPCFailedPrecondition, "lock store is not configured")
}

func encrypt(request proto.Message) error {
	in, ok := request.(*runtimev1.EncryptRequest)
	options := in.GetOptions()
	switch {
	case !ok:
		return errMessage
	case options == nil:
		return noOptions()
	case options.GetKeyName() == "":
		return refusal(daprerr.GRPCInvalidArgument, "invalid request: missing property 'keyName' in the options message")
	case options.GetKeyWrapAlgorithm() == "":
		return refusal(daprerr.GRPCInvalidArgument, "invalid request: missing property 'keyWrapAlgorithm' in the options message")
	}
	return noCrypto()
}

func decrypt(request proto.Message) error {
	in, ok := request.(*runtimev1.DecryptRequest)
	switch {
	case !ok:
		return errMessage
	case in.GetOptions() == nil:
		return noOptions()
	}
	return noCrypto()
}

// noFirst is the error of a stream whose first message could not be read.
func noFirst(name string, err error) error {
	switch name {
	case "EncryptAlpha1", "DecryptAlpha1":
		return failure(refusal(daprerr.GRPCInternal, "failed to perform operation: error receiving the first message: "+err.Error()))
	}
	return err
}

func noOptions() error {
	return refusal(daprerr.GRPCInvalidArgument, "invalid request: first message does not contain the required options")
}

func noCrypto() error { return refusal(daprerr.GRPCInternal, "crypto providers not configured") }

func noSubtleCrypto(proto.Message) error {
	return refusal(daprerr.GRPCUnimplemented, "this API is currently not implemented")
}

func converse(request proto.Message) error {
	in, ok := request.(interface{ GetName() string })
	if !ok {
		return errMessage
	}
	return refusal(daprerr.GRPCInvalidArgument, "failed finding conversation component "+in.GetName())
}

// noScheduler is the inner text of every job's error without a scheduler.
const noScheduler = "scheduler clients are disabled"

func (s *Server) whose() map[string]string {
	return map[string]string{"appID": s.cfg.Self.App(), "namespace": s.cfg.Self.Namespace()}
}

func (s *Server) scheduleJob(request proto.Message) error {
	in, ok := request.(*runtimev1.ScheduleJobRequest)
	job := in.GetJob()
	switch {
	case !ok:
		return errMessage
	case job == nil:
		return detailed(daprerr.GRPCInvalidArgument, "Job is empty", "DAPR_SCHEDULER_EMPTY", s.whose())
	case job.GetName() == "" || strings.Contains(job.GetName(), "|"):
		return s.noJobName()
	case job.Schedule == nil && job.DueTime == nil:
		return detailed(daprerr.GRPCInvalidArgument, "Schedule is empty", "DAPR_SCHEDULER_SCHEDULE_EMPTY", s.whose())
	}
	return detailed(daprerr.GRPCInternal, "failed to schedule job due to: "+noScheduler, "DAPR_SCHEDULER_SCHEDULE_JOB", s.whose())
}

func (s *Server) noJobName() error {
	return detailed(daprerr.GRPCInvalidArgument, "Name is empty", "DAPR_SCHEDULER_JOB_NAME_EMPTY", s.whose())
}

func (s *Server) namedJob(reason, text string) func(proto.Message) error {
	return func(request proto.Message) error {
		in, ok := request.(interface{ GetName() string })
		switch {
		case !ok:
			return errMessage
		case in.GetName() == "":
			return s.noJobName()
		}
		return s.jobs(reason, text)(request)
	}
}

func (s *Server) jobs(reason, text string) func(proto.Message) error {
	return func(proto.Message) error {
		return detailed(daprerr.GRPCInternal, text+noScheduler, reason, s.whose())
	}
}

// errMessage is a request of another type than its method's, which decoding has
// ruled out.
var errMessage = errors.New("the request is of another type")
