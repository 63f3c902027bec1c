package wire

import "github.com/besterhub/bester/hub"

// A Subscription is what a subscribe or unsubscribe asks for.
type Subscription struct {
	// Pattern is what the client wants to see, or no longer.
	Pattern hub.Pattern
	// Last asks for the last message of each type, if the hub has kept it, before those
	// to come. It means nothing in an unsubscribe.
	Last bool
}

// AppendSubscribe appends the payload of a subscribe, which the hub answers with a status
// under the tag.
func AppendSubscribe(dst []byte, tag uint64, s Subscription) []byte {
	return appendSubscription(dst, tag, KindSubscribe, s)
}

// AppendUnsubscribe appends the payload of an unsubscribe, which the hub answers with a
// status under the tag.
func AppendUnsubscribe(dst []byte, tag uint64, p hub.Pattern) []byte {
	return appendSubscription(dst, tag, KindUnsubscribe, Subscription{Pattern: p})
}

func appendSubscription(dst []byte, tag uint64, k Kind, s Subscription) []byte {
	dst, err := (&subscriptionBody{Pattern: string(s.Pattern), Last: s.Last}).MarshalMsg(appendHeader(dst, tag, k))
	if err != nil {
		panic("wire: subscription: " + err.Error()) // nothing in it can fail
	}
	return dst
}

// ParseSubscription reads the body of a subscribe or unsubscribe. An error wraps
// ErrMalformed.
func ParseSubscription(body []byte) (Subscription, error) {
	var b subscriptionBody
	if err := unmarshal("subscription", body, &b); err != nil {
		return Subscription{}, err
	}
	p, err := hub.ParsePattern(b.Pattern)
	if err != nil {
		return Subscription{}, malformed("subscription: p: %v", err)
	}
	return Subscription{p, b.Last}, nil
}
