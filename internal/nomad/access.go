// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/access"
)

// maxAccessCalls bounds the questions about callers that are under way: whoever tries tokens must not keep runs from Nomad.
const maxAccessCalls = 8

// ACL asks Nomad about callers, with the tokens that they present.
type ACL struct {
	client *client
	region string
	moved  Moved
	slots  chan struct{}
}

var _ access.Source = (*ACL)(nil)

// ACL tells who callers are, and what they may do.
func (e *Executor) ACL() *ACL {
	return &ACL{client: e.client, region: e.cfg.Region, moved: e.cfg.Moved, slots: make(chan struct{}, maxAccessCalls)}
}

var (
	// tokenForm is that of the secrets of ACL tokens. Nomad answers 500 to what has another.
	tokenForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	// namespaceForm is that of namespaces: "*" would be all of them.
	namespaceForm = regexp.MustCompile(`^[a-zA-Z0-9-]{1,128}$`)
)

// Nomad's words and names, for which there are no codes.
const (
	accessorOff   = "acls-disabled"         // Nomad 1.8 and later answer with a token of that name
	saysOff       = "ACL support disabled"  // what others say
	saysNoRegion  = "No path to region"     // of a federation
	saysNoSuchJob = "not found"             // of a job that may be changed, and is not there
	probeJob      = "cairn-may-this-caller" // never is: job IDs of Cairn have a cluster, and people's have no such name
)

// Whose implements access.Source. Without a token it is Nomad's anonymous one.
func (a *ACL) Whose(ctx context.Context, token string) (access.Caller, error) {
	if token != "" && !tokenForm.MatchString(token) {
		return access.Caller{}, access.ErrDenied
	}
	var self nomadapi.ACLToken
	here := realm{region: a.region}
	err := a.ask(ctx, func(ctx context.Context) error {
		return a.client.get(ctx, here, "/v1/acl/token/self", url.Values{}, &self, token)
	})
	switch {
	case answered(err) == http.StatusForbidden, answered(err) == http.StatusNotFound:
		return access.Caller{}, access.ErrDenied
	case err != nil && strings.Contains(err.Error(), saysOff), self.AccessorID == accessorOff:
		return access.Caller{}, access.ErrOff
	case err != nil:
		return access.Caller{}, fmt.Errorf("ask Nomad whose token it is: %w", bare(err))
	}
	out := access.Caller{Name: self.Name, Accessor: self.AccessorID, Management: self.Type == "management"}
	if out.Management {
		return out, nil
	}
	// A token lists its roles by name only, and may list the policies that they give it.
	var policies []nomadapi.ACLPolicyListStub
	err = a.ask(ctx, func(ctx context.Context) error {
		return a.client.get(ctx, here, "/v1/acl/policies", url.Values{}, &policies, token)
	})
	switch {
	case answered(err) == http.StatusForbidden: // it has just ended
		return access.Caller{}, access.ErrDenied
	case err != nil:
		return access.Caller{}, fmt.Errorf("ask Nomad for the policies of a token: %w", bare(err))
	}
	for _, p := range policies {
		out.Policies = append(out.Policies, p.Name)
	}
	slices.Sort(out.Policies)
	return out, nil
}

// May implements access.Source.
func (a *ACL) May(ctx context.Context, token string, right access.Right, namespace string) (bool, error) {
	region, name := access.Split(namespace)
	region = a.moved.now(region)
	if !namespaceForm.MatchString(name) || token != "" && !tokenForm.MatchString(token) {
		return false, nil
	}
	r := realm{region: firstOf(region, a.region), namespace: name}
	probe := a.mayList
	if right == access.Run {
		probe = a.maySubmit
	}
	var yes bool
	err := a.ask(ctx, func(ctx context.Context) (err error) {
		yes, err = probe(ctx, r, token)
		return err
	})
	switch {
	case answered(err) == http.StatusForbidden:
		return false, nil
	case region != "" && err != nil && strings.Contains(err.Error(), saysNoRegion):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("ask Nomad what a token may do in namespace %s: %w", r, bare(err))
	}
	return yes, nil
}

// mayList asks for a list of jobs, which takes list-jobs.
func (a *ACL) mayList(ctx context.Context, r realm, token string) (bool, error) {
	var jobs []json.RawMessage
	err := a.client.get(ctx, r, "/v1/jobs", url.Values{"per_page": {"1"}}, &jobs, token)
	return err == nil, err
}

// maySubmit asks to go back to an impossible version of a job that is not there. That takes submit-job, is refused without it
// before anything else is looked at, and never changes anything. A plan takes the same, but for Nomad it is work, and what a
// namespace says of drivers is checked before the token is.
func (a *ACL) maySubmit(ctx context.Context, r realm, token string) (bool, error) {
	body, err := json.Marshal(map[string]any{"JobID": probeJob, "JobVersion": uint64(math.MaxUint64)})
	if err != nil {
		return false, err
	}
	resp, err := a.client.send(ctx, http.MethodPut, r, "/v1/job/"+probeJob+"/revert", url.Values{}, body, token)
	var said *statusError
	if errors.As(err, &said) && strings.Contains(said.body, saysNoSuchJob) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	return false, errors.New("it went back to a version of a job that cannot be")
}

// ask makes one call under the timeout.
func (a *ACL) ask(ctx context.Context, do func(context.Context) error) error {
	release, err := slot(ctx, a.slots)
	if err != nil {
		return err
	}
	defer release()
	return a.client.once(ctx, "", func(ctx context.Context, _ string) error { return do(ctx) })
}
