//! The front-end's request codes, and what the wire form of each must look like.

use std::fmt;

use super::config::protocol;

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $wire:literal;)*) => {
        /// A front-end request of the vhost-user specification ("Front-end message types").
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Request { $($(#[$doc])* $name = $code,)* }

        impl Request {
            /// The request with this code, or `None` for a code the specification does not have.
            pub fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            fn wire_name(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

requests! {
    /// Reads the features offered.
    GetFeatures = 1, "GET_FEATURES";
    /// Acknowledges features.
    SetFeatures = 2, "SET_FEATURES";
    /// Claims the session.
    SetOwner = 3, "SET_OWNER";
    /// Deprecated; does nothing.
    ResetOwner = 4, "RESET_OWNER";
    /// Replaces the memory table.
    SetMemTable = 5, "SET_MEM_TABLE";
    /// Sets the dirty log; not offered.
    SetLogBase = 6, "SET_LOG_BASE";
    /// Sets the dirty log's event; not offered.
    SetLogFd = 7, "SET_LOG_FD";
    /// Sets a ring's size.
    SetVringNum = 8, "SET_VRING_NUM";
    /// Sets a ring's addresses.
    SetVringAddr = 9, "SET_VRING_ADDR";
    /// Sets where in the ring to start.
    SetVringBase = 10, "SET_VRING_BASE";
    /// Stops a ring and asks where it stopped.
    GetVringBase = 11, "GET_VRING_BASE";
    /// Sets a ring's kick event, and starts the ring.
    SetVringKick = 12, "SET_VRING_KICK";
    /// Sets a ring's call event.
    SetVringCall = 13, "SET_VRING_CALL";
    /// Sets a ring's error event.
    SetVringErr = 14, "SET_VRING_ERR";
    /// Reads the protocol features offered.
    GetProtocolFeatures = 15, "GET_PROTOCOL_FEATURES";
    /// Acknowledges protocol features.
    SetProtocolFeatures = 16, "SET_PROTOCOL_FEATURES";
    /// Asks how many rings there are.
    GetQueueNum = 17, "GET_QUEUE_NUM";
    /// Lets a ring carry traffic, or not.
    SetVringEnable = 18, "SET_VRING_ENABLE";
    /// Asks for a RARP frame after a migration.
    SendRarp = 19, "SEND_RARP";
    /// Tells the largest frame payload.
    NetSetMtu = 20, "NET_SET_MTU";
    /// Passes a socket for back-end requests; not offered.
    SetBackendReqFd = 21, "SET_BACKEND_REQ_FD";
    /// IOMMU translations; not offered.
    IotlbMsg = 22, "IOTLB_MSG";
    /// Byte order of a legacy ring; not offered.
    SetVringEndian = 23, "SET_VRING_ENDIAN";
    /// Reads the device's configuration space.
    GetConfig = 24, "GET_CONFIG";
    /// Writes the device's configuration space.
    SetConfig = 25, "SET_CONFIG";
    /// Crypto devices only; not offered.
    CreateCryptoSession = 26, "CREATE_CRYPTO_SESSION";
    /// Crypto devices only; not offered.
    CloseCryptoSession = 27, "CLOSE_CRYPTO_SESSION";
    /// Post-copy migration; not offered.
    PostcopyAdvise = 28, "POSTCOPY_ADVISE";
    /// Post-copy migration; not offered.
    PostcopyListen = 29, "POSTCOPY_LISTEN";
    /// Post-copy migration; not offered.
    PostcopyEnd = 30, "POSTCOPY_END";
    /// Memory that records chains in flight; not offered (chains complete in order).
    GetInflightFd = 31, "GET_INFLIGHT_FD";
    /// Memory that records chains in flight; not offered.
    SetInflightFd = 32, "SET_INFLIGHT_FD";
    /// Graphics devices only; not offered.
    GpuSetSocket = 33, "GPU_SET_SOCKET";
    /// Clears features and rings; not offered, since enables would need deferring anew.
    ResetDevice = 34, "RESET_DEVICE";
    /// A kick in a message; not offered.
    VringKick = 35, "VRING_KICK";
    /// Asks how many memory regions there may be.
    GetMaxMemSlots = 36, "GET_MAX_MEM_SLOTS";
    /// Adds a memory region.
    AddMemReg = 37, "ADD_MEM_REG";
    /// Removes a memory region.
    RemMemReg = 38, "REM_MEM_REG";
    /// Passes the virtio status byte.
    SetStatus = 39, "SET_STATUS";
    /// Asks for the virtio status byte.
    GetStatus = 40, "GET_STATUS";
    /// Shared objects; not offered.
    GetSharedObject = 41, "GET_SHARED_OBJECT";
    /// Migration of device state; not offered.
    SetDeviceStateFd = 42, "SET_DEVICE_STATE_FD";
    /// Migration of device state; not offered.
    CheckDeviceState = 43, "CHECK_DEVICE_STATE";
    /// Shared memory regions; not offered.
    GetShmemConfig = 44, "GET_SHMEM_CONFIG";
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wire_name())
    }
}

/// A request code as it came, known or not; displays as the request's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

impl From<Request> for Code {
    fn from(request: Request) -> Self {
        Self(request as u32)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Request::from_code(self.0) {
            Some(request) => request.fmt(f),
            None => write!(f, "request {}", self.0),
        }
    }
}

/// Sizes of the fixed parts of bodies, in bytes.
pub(super) mod size {
    pub(in super::super) const U64: usize = 8;
    pub(in super::super) const RING_STATE: usize = 8;
    pub(in super::super) const RING_ADDRESSES: usize = 40;
    pub(in super::super) const TABLE_HEAD: usize = 8;
    pub(in super::super) const REGION: usize = 32;
    pub(in super::super) const SINGLE_REGION: usize = 40;
    pub(in super::super) const CONFIG_HEAD: usize = 12;
}

impl Request {
    /// The protocol feature bits one of which must be acknowledged before this request is
    /// served: zero for the requests that always are, all ones for those never offered.
    pub(super) fn needs(self) -> u64 {
        match self {
            Self::GetQueueNum => protocol::MQ,
            Self::SendRarp => protocol::RARP,
            Self::NetSetMtu => protocol::MTU,
            Self::GetConfig | Self::SetConfig => protocol::CONFIG,
            Self::GetMaxMemSlots | Self::AddMemReg | Self::RemMemReg => {
                protocol::CONFIGURE_MEM_SLOTS
            }
            Self::SetStatus | Self::GetStatus => protocol::STATUS,
            Self::GetFeatures
            | Self::SetFeatures
            | Self::SetOwner
            | Self::ResetOwner
            | Self::SetMemTable
            | Self::SetVringNum
            | Self::SetVringAddr
            | Self::SetVringBase
            | Self::GetVringBase
            | Self::SetVringKick
            | Self::SetVringCall
            | Self::SetVringErr
            | Self::GetProtocolFeatures
            | Self::SetProtocolFeatures
            | Self::SetVringEnable => 0,
            _ => u64::MAX,
        }
    }

    /// Whether the request is answered by a message of its own form, so that neither success
    /// nor refusal can be told by the plain acknowledgement.
    pub(super) fn has_own_reply(self) -> bool {
        matches!(
            self,
            Self::GetFeatures
                | Self::SetLogBase
                | Self::GetVringBase
                | Self::GetProtocolFeatures
                | Self::GetQueueNum
                | Self::GetConfig
                | Self::CreateCryptoSession
                | Self::PostcopyAdvise
                | Self::PostcopyEnd
                | Self::GetInflightFd
                | Self::GetMaxMemSlots
                | Self::GetStatus
                | Self::GetSharedObject
                | Self::SetDeviceStateFd
                | Self::CheckDeviceState
                | Self::GetShmemConfig
        )
    }

    /// Whether the session can go on after this request was refused without a reply: nothing
    /// the front-end sends later depends on it.
    pub(super) fn may_be_ignored(self) -> bool {
        matches!(
            self,
            Self::SetOwner | Self::SendRarp | Self::NetSetMtu | Self::SetConfig
        )
    }

    /// The exact size of the body in bytes, or `None` where it is part of what the body says
    /// or the request is not served.
    pub(super) fn body_size(self) -> Option<usize> {
        match self {
            Self::GetFeatures
            | Self::SetOwner
            | Self::ResetOwner
            | Self::GetProtocolFeatures
            | Self::GetQueueNum
            | Self::GetMaxMemSlots
            | Self::GetStatus => Some(0),
            Self::SetFeatures
            | Self::SetProtocolFeatures
            | Self::SetVringKick
            | Self::SetVringCall
            | Self::SetVringErr
            | Self::SendRarp
            | Self::NetSetMtu
            | Self::SetStatus => Some(size::U64),
            Self::SetVringNum | Self::SetVringBase | Self::GetVringBase | Self::SetVringEnable => {
                Some(size::RING_STATE)
            }
            Self::SetVringAddr => Some(size::RING_ADDRESSES),
            Self::AddMemReg | Self::RemMemReg => Some(size::SINGLE_REGION),
            _ => None,
        }
    }

    /// The most descriptors that may come with the request. SET_MEM_TABLE counts its own.
    ///
    /// REM_MEM_REG carries none, yet the specification lets a back-end accept and close one.
    pub(super) fn most_descriptors(self) -> usize {
        match self {
            Self::SetMemTable => super::message::MAX_DESCRIPTORS,
            Self::SetVringKick
            | Self::SetVringCall
            | Self::SetVringErr
            | Self::SetLogBase
            | Self::SetLogFd
            | Self::SetBackendReqFd
            | Self::SetInflightFd
            | Self::GpuSetSocket
            | Self::SetDeviceStateFd
            | Self::AddMemReg
            | Self::RemMemReg => 1,
            _ => 0,
        }
    }
}
