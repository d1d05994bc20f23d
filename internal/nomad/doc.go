// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package nomad runs attempts as batch jobs of a Nomad cluster.
//
// # The life of an attempt
//
//	Start     the body becomes a job (body.go), is validated once per task and definition, and is registered create-only
//	          (register.go): the same start twice, by one leader or by two, makes one job. A dispatch: dispatch.go.
//	Watch     the event stream of each namespace in use wakes us (stream.go); lists of the jobs in flight, on every
//	          connect and every 30 seconds, tell what the stream dropped (list.go).
//	judge     everything known of one job's allocations folds into what became of the attempt (evidence.go, verdict.go,
//	          whole.go, pure).
//	tend      what a judgement needs besides: stop the job, look at it, read its output file, wait for a lost worker.
//	Settle    the attempt is forgotten; its job is purged some time later (sweep.go).
//
// Nomad's own words about an end are not trusted: `complete` and `dead` also stand for killed, drained and lost. Whether a
// task ended by itself is read from its events only.
//
// # What happens to workers
//
// Times are with Nomad's default heartbeats: a node is down 10 to 30 seconds after its last one.
//
//	event                               what Nomad shows                         what is concluded, after how long
//	machine lost, wait_for_stop         node down, allocation lost or unknown    lost, stop_after + kill_timeout + 15s after the node is
//	                                                                             down; nothing is placed instead meanwhile
//	machine lost, immediate             node down, another allocation            lost at once: the other one is stopped, the next attempt
//	                                                                             has a fence of its own
//	the same, and Consul knows it       node ready, allocation running           lost some 10 seconds after the loss: gossip, two looks
//	                                                                             (package workers)
//	somebody says that it is off        anything                                 lost at once
//	client killed, task alive           node down, allocation lost               as a lost machine; back in time it is adopted
//	client back after stop_after        allocation complete, killed              lost, when the client has stopped the task
//	server does not hear for a while    node down, then ready; the task may      what the task did: an end by itself counts, whatever
//	                                    have ended                               Nomad calls it
//	client restarted, task alive        nothing                                  nothing
//	machine restarted                   "Failed Restoring Task", then running:   lost: the job is stopped, since the client has begun the
//	                                    the client begins the task once more     attempt once more
//	drained                             allocation being migrated, then killed   interrupted, at Nomad's deadline; tried again
//	preempted                           desired status evict                     interrupted; tried again
//	allocation stopped by hand          another allocation                       interrupted; tried again
//	job stopped by hand                 job stopped                              interrupted, for good
//	job purged or collected             no job                                   lost, after two lists 10 seconds apart
//	Nomad restored, job forgotten       no job                                   lost, after two lists 10 seconds apart; its client may go
//	                                                                             on with it until it is restarted, or gets other work
//	Nomad restored to before an end     running, for ever                        lost, when the client has said for 15 seconds that nothing
//	                                                                             runs, and after its stop for kill_timeout + 15s (roll.go)
//	finished allocation collected       files are gone                           succeeded, with its outputs lost
//	unknown and back (job files only)   unknown, then running                    nothing
//
// # The kinds of body
//
//	kind      job                         retries and replacement    outcome                         outputs
//	task      Cairn's, of one task        Cairn's: one try           of its task                     file, stdout
//	group     Cairn's, of one group       Cairn's: one try of every  of its main tasks               file, shared by its tasks;
//	                                      task, sidecars and hooks                                   stdout of the first main task
//	job       the file's, under an ID of  the file's                 of all allocations that it      none
//	          the attempt's, with Cairn's                            asks for
//	          meta
//	dispatch  the child that Nomad makes  the parent's               the same                        none
//
// A group (shape.go) is over when its last task is: sidecars, which Nomad kills when the main tasks are dead, and the poststop
// too, so that nothing of one attempt runs beside the next. What ended it, the first that holds:
//
//	a main task failed by itself                     its exit status, of the first in order
//	all main tasks ended well by themselves          success; another task that failed is named in the message
//	a prestart or poststart task failed by itself    its exit status: Nomad ended the main tasks with it
//	a sidecar ended by itself                        failed, without an exit status, for the same reason
//	a task could not be started                      error, in the client's words
//	else                                             killed: by us, by somebody, or with its worker
//
// With a leader, it alone is the main task.
//
// A job file keeps its name, type, restart, reschedule, disconnect, counts and environment. The ID is the attempt's, so that it
// can be registered create-only, and Cairn's meta is added, by which the job is found again; namespace and priority are the
// workflow's where the file says none. Nodes to avoid are not added. Files of jobs that never end (service, system, periodic,
// parameterized) are refused. Such a job, and a child, runs from when each of its groups has begun. It has succeeded when every
// allocation that it asks for has, one placed instead of another counting for it; it has failed when one has not and Nomad,
// asked twice, calls the job dead. The message names group and task. A stop of the job by somebody else interrupts the attempt.
//
// A dispatch carries an idempotency token and an ID prefix of the attempt's. Whether it happened is asked by that prefix; of
// several children, which Nomad made up to 1.11.1 when two asked at once, the oldest is kept. What Nomad refuses in the request
// itself (no such job, meta, payload) is invalid, everything else is trouble. Nomad makes up the child's ID and offers no way to
// take the token without running something, so there is no tombstone: an attempt to be barred that may have been sent is over
// only when no call can be under way any more, two call timeouts after it was last known to be sent, and no child has come.
// One that comes later still, from a process that was stopped in the middle of its call, is stopped by the next sweep.
package nomad
