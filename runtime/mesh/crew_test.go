package mesh

import (
	"sync"
	"testing"
)

func TestACrewServesEveryCallAndEndsWhole(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	served := map[*incoming]int{}
	var done sync.WaitGroup
	hold := make(chan struct{}) // keeps the first calls open all at once
	c := &crew{serve: func(in *incoming) {
		defer done.Done()
		<-hold
		mu.Lock()
		defer mu.Unlock()
		served[in]++
	}}
	const rounds, calls = 3, maxCrew + 50
	for round := range rounds {
		for range calls {
			done.Add(1)
			c.take(new(incoming))
		}
		if round == 0 {
			close(hold)
		}
		done.Wait()
	}
	c.dismiss(false)
	done.Add(1)
	c.take(new(incoming))
	done.Wait()
	c.dismiss(true)
	if len(c.rest) != 0 {
		t.Errorf("%d still wait", len(c.rest))
	}
	if len(served) != rounds*calls+1 {
		t.Errorf("%d of %d calls were served", len(served), rounds*calls+1)
	}
	for _, n := range served {
		if n != 1 {
			t.Errorf("a call was served %d times", n)
		}
	}
}
