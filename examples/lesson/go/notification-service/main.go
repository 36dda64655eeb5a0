// Command notification-service is the lesson's second service: it takes a
// notification and says that it was delivered. Nothing in it knows of a
// sidecar.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

type notification struct {
	Message string `json:"message"`
	TaskID  string `json:"task_id,omitempty"`
}

type delivery struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /notify", notify)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "healthy"})
	})

	port := os.Getenv("PORT")
	if port == "" {
		port = "8001"
	}
	log.SetFlags(0)
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatalf("ERROR:    %v", err)
	}
	log.SetPrefix("INFO:     ")
	log.Printf("listening on http://%s", ln.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(ln))
}

// notify takes a notification. An empty body is one without a message, so
// that `pillion invoke notification-service notify` works as it stands.
func notify(w http.ResponseWriter, r *http.Request) {
	var n notification
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&n)
	switch {
	case errors.Is(err, io.EOF):
		n.Message = "(no message)"
	case err != nil:
		reply(w, http.StatusUnprocessableEntity, map[string]string{"detail": err.Error()})
		return
	}
	log.Printf("Notification received: %s", n.Message)
	if caller := r.Header.Get("dapr-caller-app-id"); caller != "" {
		log.Printf("  called by %s, as its certificate says", caller)
	}
	reply(w, http.StatusOK, delivery{"delivered", n.Message})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody is left to tell
}
