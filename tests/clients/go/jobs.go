package main

// asynq: queues with priorities, delays, retries and unique tasks, all in Lua scripts.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

var jobScenarios = []scenario{{"asynq_tasks", asynqTasks}}

// What the handler has seen.
type handled struct {
	lock  sync.Mutex
	count map[string]int
}

func (handled *handled) ProcessTask(_ context.Context, task *asynq.Task) error {
	handled.lock.Lock()
	defer handled.lock.Unlock()
	name := string(task.Payload())
	handled.count[name]++
	if task.Type() == "flaky" && handled.count[name] == 1 {
		return errors.New("not yet")
	}
	return nil
}

func (handled *handled) times(name string) int {
	handled.lock.Lock()
	defer handled.lock.Unlock()
	return handled.count[name]
}

func (handled *handled) total() int {
	handled.lock.Lock()
	defer handled.lock.Unlock()
	return len(handled.count)
}

func asynqTasks(ctx context.Context) {
	where := asynq.RedisClientOpt{Addr: address(), Password: os.Getenv("LARDER_PASSWORD"), DB: 1}
	client := asynq.NewClient(where)
	defer client.Close()
	enqueue := func(kind, name string, options ...asynq.Option) error {
		_, err := client.EnqueueContext(ctx, asynq.NewTask(kind, []byte(name)), options...)
		return err
	}
	for number := 0; number < 60; number++ {
		must(enqueue("encode", fmt.Sprintf("film %d", number), asynq.Queue([]string{"low", "critical"}[number%2])))
	}
	must(enqueue("flaky", "flaky", asynq.MaxRetry(3)))
	must(enqueue("later", "later", asynq.ProcessIn(1500*time.Millisecond)))
	must(enqueue("once", "once", asynq.Unique(time.Minute)))
	check(errors.Is(enqueue("once", "once", asynq.Unique(time.Minute)), asynq.ErrDuplicateTask), "a unique task, twice")
	// The queue survives the server.
	direct("chill")
	direct("restart")
	done := &handled{count: map[string]int{}}
	server := asynq.NewServer(where, asynq.Config{
		Concurrency: 5, Queues: map[string]int{"critical": 6, "default": 3, "low": 1}, LogLevel: asynq.FatalLevel,
		RetryDelayFunc:           func(int, error, *asynq.Task) time.Duration { return 100 * time.Millisecond },
		DelayedTaskCheckInterval: 200 * time.Millisecond,
	})
	must(server.Start(done))
	defer server.Shutdown()
	waitUntil("all are done", func() bool { return done.total() == 63 && done.times("flaky") == 2 })
	equal(done.times("once"), 1)
	inspector := asynq.NewInspector(where)
	defer inspector.Close()
	waitUntil("the queues are empty", func() bool {
		for _, queue := range []string{"critical", "default", "low"} {
			information, err := inspector.GetQueueInfo(queue)
			if err != nil || information.Size != 0 {
				return false
			}
		}
		return true
	})
	equal(get(inspector.GetQueueInfo("critical")).Processed, 30)
	equal(get(inspector.GetQueueInfo("default")).Failed, 1)
}
