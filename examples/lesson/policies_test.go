package lesson_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// policies limit each attempt and repeat it twice. The time-out stands in line
// 8: messages name it.
const policies = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: lesson
spec:
  policies:
    timeouts:
      short: 3s
    retries:
      twice: {policy: constant, duration: 10ms, maxRetries: 2}
  targets:
    apps:
      billing-service: {timeout: short, retry: twice}
`

// The three failures of the lesson's table under a policy: each is still told
// by its message, which of a time-out names the policy and where it stands; and
// how often it was tried is counted.
func TestTheThreeFailuresUnderAPolicy(t *testing.T) {
	t.Parallel()
	for _, f := range failures(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			file := filepath.Join(w.dir, "policies", "lesson.yaml")
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(policies), 0o600); err != nil {
				t.Fatal(err)
			}
			w.run(service{
				app: todo, in: inGo, env: []string{"CALL_TIMEOUT=1m"},
				flags: []string{"--app-port", "auto", "--resources-path", filepath.Dir(file)},
			})
			if f.billing != nil {
				w.begin(*f.billing).await(f.ready)
			}
			message := f.message
			if f.reason == "DEADLINE_EXCEEDED" {
				message += `, by the time-out "short" of ` + regexp.QuoteMeta(file) + `:8`
			}

			got := w.door().post("/v1.0/invoke/billing-service/method/charge", `{"task_id":"1"}`)
			var said struct {
				Message string
				Details []struct{ Metadata map[string]string }
			}
			if err := json.Unmarshal([]byte(got.body), &said); err != nil || len(said.Details) != 1 {
				t.Fatalf("answered %+v: %v", got, err)
			}
			if !regexp.MustCompile("^" + message + "$").MatchString(said.Message) {
				t.Errorf("message is %s\nwant       %s", said.Message, message)
			}
			if !strings.Contains(got.fields, "Pillion-Attempts:[3]") || said.Details[0].Metadata["attempts"] != "3" {
				t.Errorf("attempts are not counted: %+v", got)
			}

			made := w.task("tasks", "-d", `{"title":"Buy groceries"}`)
			if done := w.task("tasks/" + made.ID + "/complete"); done.Billing != f.advice || done.Status != "completed" {
				t.Errorf("todo-api answers %+v", done)
			}
		})
	}
}
