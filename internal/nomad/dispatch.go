// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"errors"
	"fmt"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// maxPayload is Nomad's limit of a dispatch.
const maxPayload = 16 << 10

// decodeDispatch reads the body of a dispatch.
func decodeDispatch(s engine.Start) (*workflow.DispatchBody, error) {
	var body workflow.DispatchBody
	err := json.Unmarshal(s.Body, &body)
	if err == nil && body.Job == "" {
		err = errors.New("it names no job")
	}
	if err != nil {
		return nil, fmt.Errorf("decode the dispatch of task %s: %w", s.Task, err)
	}
	return &body, nil
}

// dispatchRealm says where the job to dispatch is.
func dispatchRealm(region string, s engine.Start, body *workflow.DispatchBody) realm {
	return realmOf(region, s, &nomadapi.Job{Namespace: &body.Namespace, Region: &body.Region})
}
