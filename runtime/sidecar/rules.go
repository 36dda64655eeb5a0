package sidecar

import (
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/access"
)

// rules are who may call the app: what PILLION_ACCESS_RULES says, else the
// access control of Dapr's Configuration, as it is from time to time.
func (s *sidecar) rules() (*access.Access, error) {
	rules := access.New(s.workload.ID())
	if s.cfg.ClearMesh() {
		rules.Unverified()
	}
	if s.metrics != nil {
		rules.Judged(s.judged)
	}
	if s.cfg.AccessRules == "" {
		rules.Enforce(s.resources.current().policy)
		s.resources.onChange(func(_, now *resources) { rules.Enforce(now.policy) })
		return rules, nil
	}
	policy, err := access.ParsePolicy(s.cfg.AccessRules)
	if err != nil {
		return nil, &apperr.Error{Reason: apperr.OwnConfig, What: "PILLION_ACCESS_RULES: " + err.Error(), Err: err}
	}
	rules.Enforce(policy)
	return rules, nil
}
