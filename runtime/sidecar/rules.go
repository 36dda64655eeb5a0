package sidecar

import (
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/access"
)

// rules are who may call the app.
func (s *sidecar) rules() (*access.Access, error) {
	rules := access.New(s.workload.ID())
	if s.cfg.AccessRules == "" {
		return rules, nil
	}
	policy, err := access.ParsePolicy(s.cfg.AccessRules)
	if err != nil {
		return nil, &apperr.Error{Reason: apperr.OwnConfig, What: "PILLION_ACCESS_RULES: " + err.Error(), Err: err}
	}
	rules.Enforce(policy)
	return rules, nil
}
