// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"errors"
	"math/big"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones must mean the same on every machine

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// Times are text in RFC 3339. The functions keep nanoseconds, and results keep the zone of what they were computed from.

func timeText(t time.Time) cty.Value { return cty.StringVal(t.Format(time.RFC3339Nano)) }

// early is f judging the arguments it knows while others are unknown: a time is nearly always known only when a run begins,
// and a mistyped unit should not wait for that. samples stand for what is unknown.
func early(f function.Function, samples ...string) function.Function {
	return function.New(&function.Spec{
		Params: f.Params(), VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			tried := slices.Clone(args)
			for i, a := range tried {
				if a, _ = a.Unmark(); i < len(samples) && !a.IsKnown() {
					tried[i] = cty.StringVal(samples[i])
					if a.Type() == cty.Number {
						tried[i] = cty.NumberIntVal(1)
					}
				}
			}
			ty, err := f.ReturnTypeForValues(args)
			if err != nil {
				return ty, err
			}
			_, err = f.Call(tried)
			if wrong := (function.ArgError{}); errors.As(err, &wrong) && wrong.Index < len(args) && args[wrong.Index].IsKnown() {
				return ty, err
			}
			return ty, nil
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

func timeArg(args []cty.Value, i int) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, args[i].AsString())
	if err != nil {
		return time.Time{}, function.NewArgErrorf(i, "a time such as 2026-01-31T02:00:00Z is needed")
	}
	return t, nil
}

var timeAddFunc = function.New(&function.Spec{
	Params: []function.Parameter{text("time"), text("duration")},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		t, err := timeArg(args, 0)
		if err != nil {
			return cty.NilVal, err
		}
		d, err := time.ParseDuration(args[1].AsString())
		if err != nil {
			return cty.NilVal, function.NewArgErrorf(1, `a duration such as "-24h" is needed; for months there is timeaddmonths`)
		}
		return timeText(t.Add(d)), nil
	},
})

// timeAddMonthsFunc counts calendar months and stays within the month it reaches: a month after 31 January is the last of
// February.
var timeAddMonthsFunc = function.New(&function.Spec{
	Params: []function.Parameter{text("time"), {Name: "months", Type: cty.Number}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		t, err := timeArg(args, 0)
		if err != nil {
			return cty.NilVal, err
		}
		n, acc := args[1].AsBigFloat().Int64()
		if acc != big.Exact || n < -120_000 || n > 120_000 {
			return cty.NilVal, function.NewArgErrorf(1, "a whole number of months is needed, at most 120000")
		}
		first := time.Date(t.Year(), t.Month()+time.Month(n), 1, 0, 0, 0, 0, t.Location())
		last := first.AddDate(0, 1, -1).Day()
		out := time.Date(first.Year(), first.Month(), min(t.Day(), last), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
		if out.Year() < 0 || out.Year() > 9999 {
			return cty.NilVal, function.NewArgErrorf(1, "the result is not between the years 0 and 9999")
		}
		return timeText(out), nil
	},
})

var timeCmpFunc = function.New(&function.Spec{
	Params: []function.Parameter{text("a"), text("b")},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		a, err := timeArg(args, 0)
		if err != nil {
			return cty.NilVal, err
		}
		b, err := timeArg(args, 1)
		if err != nil {
			return cty.NilVal, err
		}
		return cty.NumberIntVal(int64(a.Compare(b))), nil
	},
})

var timeInFunc = function.New(&function.Spec{
	Params: []function.Parameter{text("time"), text("zone")},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		t, err := timeArg(args, 0)
		if err != nil {
			return cty.NilVal, err
		}
		zone, err := zoneArg(args, 1)
		if err != nil {
			return cty.NilVal, err
		}
		return timeText(t.In(zone)), nil
	},
})

// zoneArg reads a zone by its name. "Local" would mean another zone on each machine.
func zoneArg(args []cty.Value, i int) (*time.Location, error) {
	name := args[i].AsString()
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, function.NewArgErrorf(i, `a time zone such as "UTC" or "Europe/Berlin" is needed`)
	}
	return zone, nil
}

var timeUnits = []string{"second", "minute", "hour", "day", "week", "month", "quarter", "year"}

// timeTruncFunc gives the beginning of the second, minute, … year that a time lies in, as clocks in a zone show it; without
// a zone, in the time's own. Weeks begin on Monday.
var timeTruncFunc = function.New(&function.Spec{
	Params:   []function.Parameter{text("time"), text("unit")},
	VarParam: &function.Parameter{Name: "zone", Type: cty.String},
	Type:     function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		t, err := timeArg(args, 0)
		if err != nil {
			return cty.NilVal, err
		}
		if len(args) > 3 {
			return cty.NilVal, errors.New("a time, a unit and at most one zone are needed")
		}
		if len(args) == 3 {
			zone, err := zoneArg(args, 2)
			if err != nil {
				return cty.NilVal, err
			}
			t = t.In(zone)
		}
		out, ok := truncate(t, args[1].AsString())
		if !ok {
			return cty.NilVal, function.NewArgErrorf(1, "the unit is one of %s%s", strings.Join(timeUnits, ", "), unitHint(args[1].AsString()))
		}
		return timeText(out), nil
	},
})

func unitHint(got string) string {
	return orNear(got, timeUnits)
}

func truncate(t time.Time, unit string) (time.Time, bool) {
	day := func(year int, month time.Month, day int) (time.Time, bool) {
		return time.Date(year, month, day, 0, 0, 0, 0, t.Location()), true
	}
	switch unit {
	case "second":
		return t.Add(-time.Duration(t.Nanosecond())), true
	case "minute":
		return t.Add(-time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond())), true
	case "hour":
		// Subtracting keeps the right one of two hours of the same name at the end of summer time.
		return t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond())), true
	case "day":
		return day(t.Date())
	case "week":
		return day(t.Year(), t.Month(), t.Day()-isoWeekday(t)+1)
	case "month":
		return day(t.Year(), t.Month(), 1)
	case "quarter":
		return day(t.Year(), t.Month()-(t.Month()-1)%3, 1)
	case "year":
		return day(t.Year(), time.January, 1)
	}
	return t, false
}

var weekdayFunc = function.New(&function.Spec{
	Params: []function.Parameter{text("time")},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		t, err := timeArg(args, 0)
		if err != nil {
			return cty.NilVal, err
		}
		return cty.NumberIntVal(int64(isoWeekday(t))), nil
	},
})

// isoWeekday counts from Monday = 1 to Sunday = 7.
func isoWeekday(t time.Time) int { return (int(t.Weekday())+6)%7 + 1 }
