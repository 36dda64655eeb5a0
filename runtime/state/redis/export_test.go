package redis

import "time"

// WaitForReplicas has strong writes wait for so long.
func WaitForReplicas(s *Store, d time.Duration) { s.replicas = d }
