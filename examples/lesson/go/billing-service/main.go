// Command billing-service is the third service, which the lesson's exercise
// asks for: todo-api calls it when a task is completed.
package main

import (
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

type charge struct {
	TaskID string `json:"task_id"`
	Title  string `json:"title"`
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charge", func(w http.ResponseWriter, r *http.Request) {
		var c charge
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&c); err != nil || c.TaskID == "" {
			reply(w, http.StatusUnprocessableEntity, map[string]string{"detail": "task_id is required"})
			return
		}
		// BILLING_DELAY plays a billing system that is having a slow day.
		if delay, err := time.ParseDuration(os.Getenv("BILLING_DELAY")); err == nil {
			select {
			case <-time.After(delay):
			case <-r.Context().Done():
				log.Printf("Charge given up by the caller: %s", c.Title)
				return
			}
		}
		log.Printf("Charged: %s", c.Title)
		reply(w, http.StatusOK, map[string]string{"status": "charged", "task_id": c.TaskID})
	})

	port := os.Getenv("PORT")
	if port == "" {
		port = "8002"
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

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody is left to tell
}
