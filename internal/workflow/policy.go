// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PerTaskAttr reports whether a policy attribute belongs to the task as a whole: it is evaluated once, when the task
// begins, and not for each attempt.
func PerTaskAttr(attr string) bool {
	return attr == "max_parallel" || attr == "min_success" || attr == "allow_failure"
}

// Set overlays one attribute, named as in PolicyExpr.Attr, with an evaluated value. Durations are text such as "90s".
func (p *Policy) Set(attr string, v Value) error {
	if v.Null() {
		return fmt.Errorf("`%s` is null", attr)
	}
	switch attr {
	case "timeout":
		return setDuration(&p.Timeout, attr, v)
	case "start_timeout":
		return setDuration(&p.StartTimeout, attr, v)
	case "deadline":
		return setDuration(&p.Deadline, attr, v)
	case "allow_failure":
		return setBool(&p.AllowFailure, attr, v)
	case "max_parallel":
		return setInt(&p.MaxParallel, attr, v, 1, math.MaxInt32)
	case "min_success":
		return setMinSuccess(&p.MinSuccess, attr, v)
	case "retry.max_attempts":
		return setInt(&p.Retry.MaxAttempts, attr, v, 1, MaxPolicyAttempts)
	case "retry.max_lost":
		return setInt(&p.Retry.MaxLost, attr, v, 0, MaxPolicyAttempts)
	case "retry.delay":
		err := setDuration(&p.Retry.Delay, attr, v)
		p.Retry.MaxDelay = max(p.Retry.MaxDelay, p.Retry.Delay) // the default is the larger of 5m and delay
		return err
	case "retry.max_delay":
		return setDuration(&p.Retry.MaxDelay, attr, v)
	case "retry.backoff":
		return setWord(&p.Retry.Backoff, attr, v, BackoffConstant, BackoffExponential)
	case "retry.jitter":
		return setFraction(&p.Retry.Jitter, attr, v)
	case "retry.on_exit_codes":
		var codes []int
		if json.Unmarshal(v.JSON, &codes) != nil {
			return fmt.Errorf("`%s` must be a list of exit codes", attr)
		}
		p.Retry.OnExitCodes = codes
		return nil
	case "retry.avoid_nodes":
		return setBool(&p.Retry.AvoidNodes, attr, v)
	case "on_worker_loss.mode":
		return setWord(&p.OnWorkerLoss.Mode, attr, v, WaitForStop, Immediate)
	case "on_worker_loss.stop_after":
		return setDuration(&p.OnWorkerLoss.StopAfter, attr, v)
	}
	return fmt.Errorf("`%s` is not an attribute of a task's policy", attr)
}

func setDuration(to *time.Duration, attr string, v Value) error {
	var text string
	if json.Unmarshal(v.JSON, &text) != nil {
		return fmt.Errorf("`%s` must be a duration such as \"90s\"", attr)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("`%s` must be a duration such as \"90s\", not %q", attr, text)
	}
	if d < 0 {
		return fmt.Errorf("`%s` is negative: %s", attr, text)
	}
	*to = d
	return nil
}

func setBool(to *bool, attr string, v Value) error {
	b, ok := v.Bool()
	if !ok {
		return fmt.Errorf("`%s` must be true or false", attr)
	}
	*to = b
	return nil
}

func setInt(to *int, attr string, v Value, low, high int) error {
	var n float64
	if json.Unmarshal(v.JSON, &n) != nil || n != math.Trunc(n) {
		return fmt.Errorf("`%s` must be a whole number", attr)
	}
	if n < float64(low) || n > float64(high) {
		return fmt.Errorf("`%s` is %v, it must be from %d to %d", attr, n, low, high)
	}
	*to = int(n)
	return nil
}

func setFraction(to *float64, attr string, v Value) error {
	var n float64
	if json.Unmarshal(v.JSON, &n) != nil || n < 0 || n > 1 {
		return fmt.Errorf("`%s` must be a number from 0 to 1", attr)
	}
	*to = n
	return nil
}

func setWord[W ~string](to *W, attr string, v Value, words ...W) error {
	var text string
	if json.Unmarshal(v.JSON, &text) != nil || !slices.Contains(words, W(text)) {
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = strconv.Quote(string(w))
		}
		return fmt.Errorf("`%s` must be %s", attr, strings.Join(quoted, " or "))
	}
	*to = W(text)
	return nil
}

func setMinSuccess(to *MinSuccess, attr string, v Value) error {
	bad := fmt.Errorf("`%s` must be a whole number above 0, or a percentage such as \"80%%\"", attr)
	var n float64
	if json.Unmarshal(v.JSON, &n) == nil {
		if n < 1 || n != math.Trunc(n) || n > MaxInstances {
			return bad
		}
		*to = MinSuccess{Number: int(n)}
		return nil
	}
	var text string
	if json.Unmarshal(v.JSON, &text) != nil || !strings.HasSuffix(text, "%") {
		return bad
	}
	percent, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(text, "%")), 64)
	if err != nil || !(percent > 0 && percent <= 100) {
		return bad
	}
	*to = MinSuccess{Percent: percent}
	return nil
}
