package wire

import (
	"errors"
	"strconv"

	"github.com/besterhub/bester/hub"
)

// ClassicAuthID is the id of the statusReport that answers a classic client's login.
var ClassicAuthID = []byte(`"auth_special"`)

// codeHops is the code of a statusReport whose message had too many hops. Other hubs on
// its way pass it on.
const codeHops = "hops"

// AppendClassicStatus appends a statusReport: good if err is nil, otherwise bad, with
// err's text as the reason, and a code if err wraps hub.ErrHops. id is the raw JSON string of the message; nil stands for "".
func AppendClassicStatus(dst, id []byte, err error) []byte {
	dst = append(dst, `{"header":{"messageType":"statusReport","status":`...)
	if err == nil {
		dst = append(dst, `"good"`...)
	} else {
		dst = append(dst, `"bad","reason":`...)
		dst = AppendJSONString(dst, truncate(err.Error()))
		if errors.Is(err, hub.ErrHops) {
			dst = append(dst, `,"code":"`+codeHops+`"`...)
		}
	}
	dst = append(dst, `},"payload":{"id":`...)
	dst = appendID(dst, id)
	return append(dst, `}}`...)
}

func appendID(dst, id []byte) []byte {
	if len(id) == 0 {
		return append(dst, `""`...)
	}
	return append(dst, id...)
}

// AppendClassicReceived appends a receivedMessage with m's data and type. An error wraps
// hub.ErrEncoding if the data cannot be converted to JSON. dst is then returned unchanged.
func AppendClassicReceived(dst []byte, m *hub.Message) ([]byte, error) {
	out := append(dst, `{"header":{"messageType":"receivedMessage"},"payload":{"data":`...)
	out, err := AppendJSON(out, m.Data)
	if err != nil {
		return dst, err
	}
	out = append(out, `,"type":`...)
	out = AppendJSONString(out, string(m.Type))
	return append(out, `}}`...), nil
}

// AppendClassicServer appends the frame that sends m to another hub. It contains the
// users in m.To as recipients, if there are any, and m's hops and id, if it has them. An
// error wraps hub.ErrEncoding if the data cannot be converted to JSON. dst is then
// returned unchanged.
func AppendClassicServer(dst []byte, m *hub.Message) ([]byte, error) {
	out := append(dst, `{"header":{"scope":"server"`...)
	first := true
	for _, to := range m.To {
		if to.User == "" {
			continue
		}
		if first {
			out = append(out, `,"to":[`...)
		} else {
			out = append(out, ',')
		}
		first = false
		out = AppendJSONString(out, string(to.User))
	}
	if !first {
		out = append(out, ']')
	}
	if m.Hops > 0 {
		out = append(out, `,"hops":`...)
		out = strconv.AppendInt(out, int64(m.Hops), 10)
	}
	out = append(out, `},"payload":{"data":`...)
	out, err := AppendJSON(out, m.Data)
	if err != nil {
		return dst, err
	}
	out = append(out, `,"type":`...)
	out = AppendJSONString(out, string(m.Type))
	if m.ID != (hub.ID{}) {
		out = append(out, `,"id":`...)
		out = AppendJSONString(out, m.ID.Origin)
		out = append(out[:len(out)-1], '/')
		out = strconv.AppendUint(out, m.ID.Number, 10)
		out = append(out, '"')
	}
	return append(out, `}}`...), nil
}

// AppendClassicDummy appends the answer to a message of type "dummy".
func AppendClassicDummy(dst, id []byte) []byte {
	dst = append(dst, `{"header":{"status":"0"},"payload":{"data":null,"id":`...)
	dst = appendID(dst, id)
	return append(dst, `,"type":"dummy"}}`...)
}
