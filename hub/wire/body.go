package wire

// The bodies of the rare frames: one per connection or failure. The frequent ones, of
// messages and answers, are read by a bodyReader. A body must be zero before it is
// decoded, since msgp leaves an absent field unchanged. It must be checked first
// (checkBody), since msgp follows any nesting and, where an int has 32 bits, any length.

//go:generate go tool msgp -io=false -tests=false -unexported

//msgp:limit arrays:256 maps:256
//msgp:marshal ignore statusBody goodbyeBody gapBody
//msgp:size ignore statusBody goodbyeBody gapBody

type helloBody struct {
	Version  uint64    `msg:"v"`
	Role     string    `msg:"r"`
	User     string    `msg:"u,omitempty"`
	Password string    `msg:"p,omitempty"`
	Token    string    `msg:"k,omitempty"`
	Name     string    `msg:"n,omitempty"`
	Types    *[]string `msg:"t,omitempty"` // nil: it does not say, unlike an empty list
	Credits  uint64    `msg:"c,omitempty"`
	MaxFrame uint64    `msg:"f,omitempty"`
	SendOnly bool      `msg:"s,omitempty"`
}

type statusBody struct {
	Code   uint64 `msg:"s"`
	Reason string `msg:"e"`
}

type goodbyeBody struct {
	Reason string `msg:"e"`
}

type subscriptionBody struct {
	Pattern string `msg:"p"`
	Last    bool   `msg:"l,omitempty"`
}

type gapBody struct {
	Missed uint64 `msg:"n"`
	Reason string `msg:"e"`
}
