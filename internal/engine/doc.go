// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package engine is the state machine of a run: no IO, no clock, no goroutine, no chance. A shell feeds it events; Step folds
// each one into the State and returns the commands that became due. The shell saves what changed (EncodeDirty) and only then
// carries the commands out. A new leader loads the records, asks Outstanding what the state still waits for, and carries on:
// recovery after a crash and normal work are the same code.
//
//	event ─▶ Step ─▶ state (dirty records) ─▶ save ─▶ commands ─▶ executor, timer, admission ─▶ events
//
// # How an instance goes
//
//	rule met ─▶ view fixed, `when`, expansion ─▶ queued ──Want/Admit──▶ starting ─▶ running ─▶ verdict
//	                                               ▲                                            │
//	                                               └──────────── waiting (backoff) ◀── retry ───┘
//
// # Statuses of a run
//
//	| status    | meaning |
//	|-----------|---------|
//	| queued    | created, or taken up again by hand, and waits for its Begin |
//	| running   | goes forward |
//	| pausing   | begins nothing new and waits for what runs |
//	| paused    | nothing runs; timers of waits and approvals go on, run timeout and deadlines stand still |
//	| stopping  | what runs is being ended, by stop, terminate or the run's timeout; finally may still run |
//	| succeeded | over, and nothing made it fail |
//	| failed    | over, and the reason says what made it fail |
//	| cancelled | over, because somebody stopped it |
//	| skipped   | over before it began: its workflow had enough runs |
//
// # Statuses of tasks and instances
//
//	| status    | meaning |
//	|-----------|---------|
//	| pending   | its rule is not met yet; of an instance: its turn has not come |
//	| queued    | asks for admission |
//	| waiting   | a backoff, a wait or an approval runs |
//	| starting  | handed to whoever runs it |
//	| running   | seen running |
//	| succeeded | ended well, or was taken for that by hand |
//	| failed    | ended badly for good |
//	| skipped   | was not needed: `when`, its rule, an empty fan-out, a skipped child run, or by hand |
//	| omitted   | could not run: something before it went wrong, or on_failure let nothing new begin |
//	| cancelled | was ended, or kept from beginning, by stop, terminate, timeout, fail_fast or by hand |
//
// # Verdicts of attempts
//
// Written once:
//
//	| verdict     | meaning |
//	|-------------|---------|
//	| succeeded   | ended well, with its outputs; an approval was given, a wait is over |
//	| failed      | a bad exit, a signal, out of memory, a wrong output; a rejected approval, a failed child run or call |
//	| timed_out   | its timeout or deadline passed |
//	| error       | never started: a bad body, a driver, no place in time |
//	| lost        | its worker went away |
//	| interrupted | somebody outside of Cairn killed it, or it had to leave its worker |
//	| cancelled   | Cairn killed it for a stop, fail_fast or a cancel |
//
// # When a task starts
//
// OK is succeeded or skipped, BAD is failed, omitted or cancelled; for all_success and none_failed an allowed failure is OK.
//
//	| rule        | starts when | otherwise |
//	|-------------|-------------|-----------|
//	| all_success | every predecessor is OK | omitted at the first BAD one; skipped with a skipped branch |
//	| none_failed | every predecessor is over and none BAD, skipped branches or not | omitted at the first BAD one |
//	| all_done    | every predecessor is over | never |
//	| one_success | one predecessor succeeded, whatever the others do | all over without: omitted if one is BAD, else skipped |
//	| one_failed  | one predecessor failed, whatever the others do | all over without: skipped |
//	| all_failed  | every predecessor is BAD and one of them failed | skipped at the first OK one; all BAD, none failed: omitted |
//
// # Bodies
//
//	| body         | its attempt | counts for the run's max_parallel |
//	|--------------|-------------|-----------------------------------|
//	| task, group, job, dispatch | admitted, then handed to the executor | yes |
//	| run_workflow | a child run, handed out without admission, at most 128 of a task at a time; held while the run pauses | yes |
//	| http         | admitted, then made by the leader | no |
//	| approval     | never handed out: waits for Approve, Reject or its timeout; decided once | no |
//	| wait         | never handed out: waits for its time | no |
//	| join         | none: the instance succeeds at once | no |
//
// # Retry by policy
//
// The first row that holds decides what follows an attempt:
//
//	| what happened | what follows |
//	|---------------|--------------|
//	| it succeeded | the instance succeeds |
//	| Cairn cancelled it | the instance is cancelled |
//	| its worker was lost, or it had to leave it | again after the backoff, up to max_lost, counted apart |
//	| somebody outside interrupted it | the instance fails |
//	| its body was refused, or an approval rejected | the instance fails |
//	| it exited with a code that on_exit_codes does not hold | the instance fails |
//	| `retry.when` is false, null or an error | the instance fails |
//	| it was the last of max_attempts | the instance fails |
//	| the backoff would end after the deadline | the instance fails |
//	| anything else | again after the backoff |
//
// # How a run ends
//
// The first row that holds:
//
//	| what holds | the run ends |
//	|------------|--------------|
//	| it was skipped before it began | skipped |
//	| somebody stopped or terminated it | cancelled |
//	| its timeout passed | failed, with the reason timeout |
//	| a finally task failed, and was not allowed to | failed |
//	| a task failed or was cancelled by hand, was not allowed to, and no handler recovered it | failed |
//	| an output of the run cannot be evaluated | failed, naming the output |
//	| anything else | succeeded |
//
// # Verbs
//
// Machine.Fits is this table; Step drops what it does not let through.
//
//	| verb         | does | allowed when |
//	|--------------|------|--------------|
//	| stop         | ends what runs, begins nothing, runs finally | queued, running, pausing, paused |
//	| terminate    | the same without finally | queued, running, pausing, paused, stopping |
//	| pause        | begins nothing new; what runs ends, child runs are paused | running |
//	| resume       | goes on | pausing, paused |
//	| retry        | resets what did not succeed, with all below it, and finally; the run is queued in a new generation | failed, cancelled, skipped |
//	| skip         | ends a run that never began | queued, in its first generation |
//	| cancel       | ends a task or an instance | queued, waiting, starting, running |
//	| task retry   | resets a task and all below it; a run that was over is queued | failed, cancelled, omitted; while the run goes on: nothing ends it, finally has not begun, nothing below is in flight |
//	| task skip    | makes a task or an instance skipped, now or at the next retry | pending, queued, waiting, failed; once the run is over: failed, cancelled, omitted |
//	| task succeed | the same, succeeded and with outputs | as task skip |
//	| approve      | gives an approval, with its inputs | an approval that waits, by one of its approvers |
//	| reject       | fails an approval for good | an approval that waits, by one of its approvers |
//
// # What a retry by hand resets
//
// Event.Generation makes it idempotent. The resets go on over as many saved steps as they take (Head.Resetting); until they
// are done nothing is looked at.
//
//	| what | becomes |
//	|------|---------|
//	| a task that failed, was cancelled or omitted | pending |
//	| a failed, cancelled or omitted instance of any task | pending, and its task with it |
//	| what was decided by hand since the run was over | what was decided |
//	| everything downstream of one of these | pending, with all its instances |
//	| all of finally | pending, with all its instances, expanded anew |
//	| other instances of a fan-out that failed | kept, with their results |
//	| an expansion | kept, unless a task that it reads was reset: evaluated anew |
//	| an equal element of an expansion anew | kept, with its number and its result, unless something else above was reset |
//	| another element of an expansion anew | a new number |
//	| a task outside of a rerun | kept |
//	| tries, losses, deadlines, run timeout, paused time, run outputs, ending | begin anew |
//	| attempt numbers, fences, verdicts | kept and never repeated |
//	| the child run of an attempt that did not end well, with equal params | taken up again, by the next attempt |
//
// # What is kept how
//
// The durable state is Head, one TaskState for each task, one Instance for each instance that has begun, and the attempts
// that ended. Everything else (derived) follows from it and is kept so that a step costs what changed: counters for each
// task's predecessors, sets of instances by what they wait for, timers. The work list holds the tasks that want a look; a
// step looks at as many as fit its budget of records, and asks for a Continue when some are left. Nothing about the list is
// stored: a task is on it exactly when looking would change something.
//
// # Where to find a rule
//
//	trigger rules, drain and fail_fast by edges      rules.go
//	view, when, fan-out verdicts                     tasks.go
//	expansion, instance numbers anew                 expand.go
//	admission, observations, verdicts                attempts.go
//	approval and wait                                own.go
//	child runs                                       child.go
//	retry by policy                                  retry.go
//	timeouts and deadlines, pauses of them           timers.go
//	endings, finally, the run's status               ending.go
//	verbs, and when they fit                         verbs.go
//	skip and succeed by hand                         hand.go
//	retry by hand, and what it resets                again.go
//	rerun                                            rerun.go
//	numbers, positions, what others read             view.go
//	what expressions see                             scope.go
//	outputs                                          outputs.go
//	dynamic policies                                 policy.go
//	records, chunks, loading                         record.go
package engine
