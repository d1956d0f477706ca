package hub

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// keepAgain is how long a part rests that went wrong.
const keepAgain = time.Second

// keep runs what a part does beside the house until it ends by itself or ctx
// does. A panic is logged, and the part begins again a little later: clients go
// on being served meanwhile.
func (h *Hub) keep(ctx context.Context, part string, run func(ctx context.Context)) {
	for !h.ends(ctx, part, run) {
		rest := time.NewTimer(keepAgain)
		select {
		case <-ctx.Done():
			rest.Stop()
			return
		case <-rest.C:
		}
	}
}

// ends tells whether run has ended by itself.
func (h *Hub) ends(ctx context.Context, part string, run func(ctx context.Context)) (itself bool) {
	defer func() {
		if r := recover(); r != nil {
			h.log.Error("panic", "part", part, "err", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	run(ctx)
	return true
}
