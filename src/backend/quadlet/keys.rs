//! Every key that Quadlet knows, as data: its section, how its value is written, and the version of Podman that brought it.
//!
//! Sources: podman-systemd.unit(5) of the versions, podlet's table of downgrades, and runs of 5.4.2. Where they leave a version open, the later
//! one stands here: a key that is used too late costs nothing, one that is used too early loses the whole unit.
use super::version::Podman;

/// A section of a unit file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Of systemd: what a unit is and needs.
    Unit,
    /// Of Quadlet: a container.
    Container,
    /// Of Quadlet: a network.
    Network,
    /// Of Quadlet: a volume.
    Volume,
    /// Of Quadlet: an image.
    Image,
    /// Of Quadlet: a pod.
    Pod,
    /// Of Quadlet: how it treats the file.
    Quadlet,
    /// Of systemd: a socket.
    Socket,
    /// Of systemd: a timer.
    Timer,
    /// Of systemd: a service.
    Service,
    /// Of systemd: what wants the unit.
    Install,
}

impl Section {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 11] = [
        Self::Unit,
        Self::Container,
        Self::Network,
        Self::Volume,
        Self::Image,
        Self::Pod,
        Self::Quadlet,
        Self::Socket,
        Self::Timer,
        Self::Service,
        Self::Install,
    ];

    /// As it is written between brackets.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unit => "Unit",
            Self::Container => "Container",
            Self::Network => "Network",
            Self::Volume => "Volume",
            Self::Image => "Image",
            Self::Pod => "Pod",
            Self::Quadlet => "Quadlet",
            Self::Socket => "Socket",
            Self::Timer => "Timer",
            Self::Service => "Service",
            Self::Install => "Install",
        }
    }

    /// The section of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }

    /// Whether Quadlet reads it, and refuses keys in it that it does not know. The others are systemd's, which skips what it does not know.
    pub const fn is_quadlets(self) -> bool {
        !matches!(self, Self::Unit | Self::Socket | Self::Timer | Self::Service | Self::Install)
    }
}

/// How the value of a key is written, and what its reader makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One value, the rest of the line as it stands; the last one counts. Becomes an argument.
    Raw,
    /// As `Raw`, and each line counts.
    RawList,
    /// Words with quotes and C escapes; become arguments.
    Words,
    /// Words with quotes but without escapes; become arguments.
    Plainwords,
    /// `KEY=VALUE` words with quotes and C escapes; become arguments.
    Pairs,
    /// `true` or `false`.
    Bool,
    /// A setting that systemd reads: the rest of the line.
    Setting,
    /// A setting that systemd reads as a number, where `%` is a part of it.
    Number,
    /// A setting that systemd reads and that counts each time.
    SettingList,
    /// A command line of systemd.
    Command,
}

/// A key that exists. There are no others: its fields are private, so only this file makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    section: Section,
    name: &'static str,
    class: Class,
    since: Podman,
}

impl Key {
    /// Its section.
    pub const fn section(self) -> Section {
        self.section
    }

    /// As it is written before `=`.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// How its value is written.
    pub const fn class(self) -> Class {
        self.class
    }

    /// The first version of Podman that knows it.
    pub const fn since(self) -> Podman {
        self.since
    }

    /// All keys of a section.
    pub fn all(section: Section) -> impl Iterator<Item = Self> {
        ALL.iter().flat_map(|keys| keys.iter()).filter(move |key| key.section == section).copied()
    }

    /// The key of that name in that section.
    pub fn find(section: Section, name: &str) -> Option<Self> {
        Self::all(section).find(|key| key.name == name)
    }
}

/// All keys.
const ALL: [&[Key]; 11] = [
    unit::KEYS,
    container::KEYS,
    network::KEYS,
    volume::KEYS,
    image::KEYS,
    pod::KEYS,
    quadlet::KEYS,
    socket::KEYS,
    timer::KEYS,
    service::KEYS,
    install::KEYS,
];

macro_rules! keys {
    ($module:ident $section:ident, $doc:literal: $($constant:ident $name:literal $class:ident $major:literal $minor:literal;)*) => {
        #[doc = $doc]
        pub mod $module {
            use super::{Class, Key, Podman, Section};
            $(
                #[doc = concat!("`", $name, "=`")]
                pub const $constant: Key = Key { section: Section::$section, name: $name, class: Class::$class, since: Podman::new($major, $minor) };
            )*
            pub(super) const KEYS: &[Key] = &[$($constant),*];
        }
    };
}

keys! { container Container, "Keys of `[Container]`.":
    ADD_CAPABILITY "AddCapability" Plainwords 4 4;
    ADD_DEVICE "AddDevice" Plainwords 4 4;
    ADD_HOST "AddHost" RawList 5 3;
    ANNOTATION "Annotation" Pairs 4 4;
    APP_ARMOR "AppArmor" Raw 5 8;
    AUTO_UPDATE "AutoUpdate" Raw 4 6;
    CGROUPS_MODE "CgroupsMode" Raw 5 3;
    CONTAINER_NAME "ContainerName" Raw 4 4;
    CONTAINERS_CONF_MODULE "ContainersConfModule" RawList 4 8;
    DNS "DNS" RawList 4 7;
    DNS_OPTION "DNSOption" RawList 4 7;
    DNS_SEARCH "DNSSearch" RawList 4 7;
    DROP_CAPABILITY "DropCapability" Plainwords 4 4;
    ENTRYPOINT "Entrypoint" Raw 5 0;
    ENVIRONMENT "Environment" Pairs 4 4;
    ENVIRONMENT_FILE "EnvironmentFile" Words 4 4;
    ENVIRONMENT_HOST "EnvironmentHost" Bool 4 4;
    EXEC "Exec" Words 4 4;
    EXPOSE_HOST_PORT "ExposeHostPort" RawList 4 4;
    GID_MAP "GIDMap" Plainwords 4 8;
    GLOBAL_ARGS "GlobalArgs" Words 4 8;
    GROUP "Group" Raw 4 4;
    GROUP_ADD "GroupAdd" RawList 5 1;
    HEALTH_CMD "HealthCmd" Raw 4 5;
    HEALTH_INTERVAL "HealthInterval" Raw 4 5;
    HEALTH_LOG_DESTINATION "HealthLogDestination" Raw 5 3;
    HEALTH_MAX_LOG_COUNT "HealthMaxLogCount" Raw 5 3;
    HEALTH_MAX_LOG_SIZE "HealthMaxLogSize" Raw 5 3;
    HEALTH_ON_FAILURE "HealthOnFailure" Raw 4 5;
    HEALTH_RETRIES "HealthRetries" Raw 4 5;
    HEALTH_START_PERIOD "HealthStartPeriod" Raw 4 5;
    HEALTH_STARTUP_CMD "HealthStartupCmd" Raw 4 5;
    HEALTH_STARTUP_INTERVAL "HealthStartupInterval" Raw 4 5;
    HEALTH_STARTUP_RETRIES "HealthStartupRetries" Raw 4 5;
    HEALTH_STARTUP_SUCCESS "HealthStartupSuccess" Raw 4 5;
    HEALTH_STARTUP_TIMEOUT "HealthStartupTimeout" Raw 4 5;
    HEALTH_TIMEOUT "HealthTimeout" Raw 4 5;
    HOST_NAME "HostName" Raw 4 6;
    HTTP_PROXY "HttpProxy" Bool 5 7;
    IMAGE "Image" Raw 4 4;
    IP "IP" Raw 4 5;
    IP6 "IP6" Raw 4 5;
    LABEL "Label" Pairs 4 4;
    LOG_DRIVER "LogDriver" Raw 4 5;
    LOG_OPT "LogOpt" Plainwords 5 2;
    MASK "Mask" Words 4 6;
    MEMORY "Memory" Raw 5 5;
    MOUNT "Mount" Words 4 5;
    NETWORK "Network" RawList 4 4;
    NETWORK_ALIAS "NetworkAlias" RawList 5 2;
    NO_NEW_PRIVILEGES "NoNewPrivileges" Bool 4 4;
    NOTIFY "Notify" Raw 4 4;
    PIDS_LIMIT "PidsLimit" Raw 4 7;
    POD "Pod" Raw 5 0;
    PODMAN_ARGS "PodmanArgs" Words 4 4;
    PUBLISH_PORT "PublishPort" RawList 4 4;
    PULL "Pull" Raw 4 6;
    READ_ONLY "ReadOnly" Bool 4 4;
    READ_ONLY_TMPFS "ReadOnlyTmpfs" Bool 4 8;
    RELOAD_CMD "ReloadCmd" Words 5 5;
    RELOAD_SIGNAL "ReloadSignal" Raw 5 5;
    REMAP_GID "RemapGid" Plainwords 4 4;
    REMAP_UID "RemapUid" Plainwords 4 4;
    REMAP_UID_SIZE "RemapUidSize" Raw 4 4;
    REMAP_USERS "RemapUsers" Raw 4 4;
    RETRY "Retry" Raw 5 5;
    RETRY_DELAY "RetryDelay" Raw 5 5;
    ROOTFS "Rootfs" Raw 4 5;
    RUN_INIT "RunInit" Bool 4 4;
    SECCOMP_PROFILE "SeccompProfile" Raw 4 4;
    SECRET "Secret" Words 4 5;
    SECURITY_LABEL_DISABLE "SecurityLabelDisable" Bool 4 4;
    SECURITY_LABEL_FILE_TYPE "SecurityLabelFileType" Raw 4 4;
    SECURITY_LABEL_LEVEL "SecurityLabelLevel" Raw 4 4;
    SECURITY_LABEL_NESTED "SecurityLabelNested" Bool 4 6;
    SECURITY_LABEL_TYPE "SecurityLabelType" Raw 4 4;
    SERVICE_NAME "ServiceName" Raw 5 3;
    SHM_SIZE "ShmSize" Raw 4 7;
    START_WITH_POD "StartWithPod" Bool 5 3;
    STOP_SIGNAL "StopSignal" Raw 5 2;
    STOP_TIMEOUT "StopTimeout" Raw 5 0;
    SUB_GID_MAP "SubGIDMap" Raw 4 8;
    SUB_UID_MAP "SubUIDMap" Raw 4 8;
    SYSCTL "Sysctl" Plainwords 4 6;
    TIMEZONE "Timezone" Raw 4 4;
    TMPFS "Tmpfs" RawList 4 5;
    UID_MAP "UIDMap" Plainwords 4 8;
    ULIMIT "Ulimit" RawList 4 7;
    UNMASK "Unmask" Words 4 6;
    USER "User" Raw 4 4;
    USER_NS "UserNS" Raw 4 5;
    VOLATILE_TMP "VolatileTmp" Bool 4 4;
    VOLUME "Volume" RawList 4 4;
    WORKING_DIR "WorkingDir" Raw 4 6;
}

keys! { network Network, "Keys of `[Network]`.":
    CONTAINERS_CONF_MODULE "ContainersConfModule" RawList 4 8;
    DISABLE_DNS "DisableDNS" Bool 4 4;
    DNS "DNS" RawList 4 7;
    DRIVER "Driver" Raw 4 4;
    GATEWAY "Gateway" RawList 4 4;
    GLOBAL_ARGS "GlobalArgs" Words 4 8;
    INTERFACE_NAME "InterfaceName" Raw 5 6;
    INTERNAL "Internal" Bool 4 4;
    IPAM_DRIVER "IPAMDriver" Raw 4 4;
    IP_RANGE "IPRange" RawList 4 4;
    IPV6 "IPv6" Bool 4 4;
    LABEL "Label" Pairs 4 4;
    NETWORK_DELETE_ON_STOP "NetworkDeleteOnStop" Bool 5 5;
    NETWORK_NAME "NetworkName" Raw 5 0;
    OPTIONS "Options" Pairs 4 4;
    PODMAN_ARGS "PodmanArgs" Words 4 6;
    SERVICE_NAME "ServiceName" Raw 5 3;
    SUBNET "Subnet" RawList 4 4;
}

keys! { volume Volume, "Keys of `[Volume]`.":
    CONTAINERS_CONF_MODULE "ContainersConfModule" RawList 4 8;
    COPY "Copy" Bool 4 4;
    DEVICE "Device" Raw 4 4;
    DRIVER "Driver" Raw 4 8;
    GLOBAL_ARGS "GlobalArgs" Words 4 8;
    GROUP "Group" Raw 4 4;
    IMAGE "Image" Raw 4 8;
    LABEL "Label" Pairs 4 4;
    OPTIONS "Options" Raw 4 4;
    PODMAN_ARGS "PodmanArgs" Words 4 6;
    SERVICE_NAME "ServiceName" Raw 5 3;
    TYPE "Type" Raw 4 4;
    USER "User" Raw 4 4;
    VOLUME_NAME "VolumeName" Raw 5 0;
}

keys! { image Image, "Keys of `[Image]`.":
    ALL_TAGS "AllTags" Bool 4 8;
    ARCH "Arch" Raw 4 8;
    AUTH_FILE "AuthFile" Raw 4 8;
    CERT_DIR "CertDir" Raw 4 8;
    CONTAINERS_CONF_MODULE "ContainersConfModule" RawList 4 8;
    CREDS "Creds" Raw 4 8;
    DECRYPTION_KEY "DecryptionKey" Raw 4 8;
    GLOBAL_ARGS "GlobalArgs" Words 4 8;
    IMAGE "Image" Raw 4 8;
    IMAGE_TAG "ImageTag" Raw 4 8;
    OS "OS" Raw 4 8;
    PODMAN_ARGS "PodmanArgs" Words 4 8;
    POLICY "Policy" Raw 5 6;
    RETRY "Retry" Raw 5 5;
    RETRY_DELAY "RetryDelay" Raw 5 5;
    SERVICE_NAME "ServiceName" Raw 5 3;
    TLS_VERIFY "TLSVerify" Bool 4 8;
    VARIANT "Variant" Raw 4 8;
}

keys! { pod Pod, "Keys of `[Pod]`.":
    ADD_HOST "AddHost" RawList 5 3;
    CONTAINERS_CONF_MODULE "ContainersConfModule" RawList 5 0;
    DNS "DNS" RawList 5 3;
    DNS_OPTION "DNSOption" RawList 5 3;
    DNS_SEARCH "DNSSearch" RawList 5 3;
    EXIT_POLICY "ExitPolicy" Raw 5 6;
    GID_MAP "GIDMap" Plainwords 5 3;
    GLOBAL_ARGS "GlobalArgs" Words 5 0;
    HOST_NAME "HostName" RawList 5 5;
    IP "IP" Raw 5 3;
    IP6 "IP6" Raw 5 3;
    LABEL "Label" Pairs 5 6;
    NETWORK "Network" RawList 5 0;
    NETWORK_ALIAS "NetworkAlias" RawList 5 2;
    POD_NAME "PodName" Raw 5 0;
    PODMAN_ARGS "PodmanArgs" Words 5 0;
    PUBLISH_PORT "PublishPort" RawList 5 0;
    SERVICE_NAME "ServiceName" Raw 5 3;
    SHM_SIZE "ShmSize" Raw 5 5;
    SUB_GID_MAP "SubGIDMap" Raw 5 3;
    SUB_UID_MAP "SubUIDMap" Raw 5 3;
    UID_MAP "UIDMap" Plainwords 5 3;
    USER_NS "UserNS" Raw 5 3;
    VOLUME "Volume" RawList 5 0;
}

keys! { quadlet Quadlet, "Keys of `[Quadlet]`.":
    DEFAULT_DEPENDENCIES "DefaultDependencies" Bool 5 3;
}

keys! { unit Unit, "Keys of `[Unit]` that are written here.":
    DESCRIPTION "Description" Setting 4 4;
    DOCUMENTATION "Documentation" Setting 4 4;
    AFTER "After" SettingList 4 4;
    ASSERT_PATH_EXISTS "AssertPathExists" SettingList 4 4;
    ASSERT_PATH_IS_DIRECTORY "AssertPathIsDirectory" SettingList 4 4;
    BEFORE "Before" SettingList 4 4;
    PART_OF "PartOf" SettingList 4 4;
    REQUIRES "Requires" SettingList 4 4;
    WANTS "Wants" SettingList 4 4;
    START_LIMIT_BURST "StartLimitBurst" Number 4 4;
    START_LIMIT_INTERVAL_SEC "StartLimitIntervalSec" Setting 4 4;
    STATE_DIR "X-MeshStateDir" Setting 4 4;
}

keys! { service Service, "Keys of `[Service]` that are written here.":
    CPU_QUOTA "CPUQuota" Number 4 4;
    CPU_WEIGHT "CPUWeight" Number 4 4;
    DELEGATE "Delegate" Setting 4 4;
    ENVIRONMENT "Environment" SettingList 4 4;
    EXEC_START "ExecStart" Command 4 4;
    EXEC_RELOAD "ExecReload" Command 4 4;
    EXEC_START_PRE "ExecStartPre" Command 4 4;
    EXEC_STOP "ExecStop" Command 4 4;
    EXEC_STOP_POST "ExecStopPost" Command 4 4;
    KILL_MODE "KillMode" Setting 4 4;
    LIMIT_NOFILE "LimitNOFILE" Number 4 4;
    LOCK_PERSONALITY "LockPersonality" Setting 4 4;
    MEMORY_DENY_WRITE_EXECUTE "MemoryDenyWriteExecute" Setting 4 4;
    MEMORY_LOW "MemoryLow" Number 4 4;
    MEMORY_MAX "MemoryMax" Number 4 4;
    NO_NEW_PRIVILEGES "NoNewPrivileges" Setting 4 4;
    NOTIFY_ACCESS "NotifyAccess" Setting 4 4;
    OOM_POLICY "OOMPolicy" Setting 4 4;
    PROTECT_CONTROL_GROUPS "ProtectControlGroups" Setting 4 4;
    PROTECT_KERNEL_LOGS "ProtectKernelLogs" Setting 4 4;
    PROTECT_KERNEL_MODULES "ProtectKernelModules" Setting 4 4;
    PROTECT_KERNEL_TUNABLES "ProtectKernelTunables" Setting 4 4;
    PROTECT_SYSTEM "ProtectSystem" Setting 4 4;
    REMAIN_AFTER_EXIT "RemainAfterExit" Setting 4 4;
    RESTART "Restart" Setting 4 4;
    RESTART_MAX_DELAY_SEC "RestartMaxDelaySec" Number 4 4;
    RESTART_PREVENT_EXIT_STATUS "RestartPreventExitStatus" Setting 4 4;
    RESTART_SEC "RestartSec" Number 4 4;
    RESTART_STEPS "RestartSteps" Number 4 4;
    RESTRICT_REALTIME "RestrictRealtime" Setting 4 4;
    RESTRICT_SUID_SGID "RestrictSUIDSGID" Setting 4 4;
    SUCCESS_EXIT_STATUS "SuccessExitStatus" Setting 4 4;
    SYSLOG_IDENTIFIER "SyslogIdentifier" Setting 4 4;
    SYSTEM_CALL_ARCHITECTURES "SystemCallArchitectures" Setting 4 4;
    TASKS_MAX "TasksMax" Number 4 4;
    TIMEOUT_START_SEC "TimeoutStartSec" Number 4 4;
    TIMEOUT_STOP_SEC "TimeoutStopSec" Number 4 4;
    TYPE "Type" Setting 4 4;
}

keys! { socket Socket, "Keys of `[Socket]` that are written here.":
    BACKLOG "Backlog" Setting 4 4;
    FILE_DESCRIPTOR_NAME "FileDescriptorName" Setting 4 4;
    LISTEN_STREAM "ListenStream" SettingList 4 4;
    NO_DELAY "NoDelay" Setting 4 4;
}

keys! { timer Timer, "Keys of `[Timer]` that are written here.":
    ACCURACY_SEC "AccuracySec" Number 4 4;
    FIXED_RANDOM_DELAY "FixedRandomDelay" Bool 4 4;
    ON_ACTIVE_SEC "OnActiveSec" Number 4 4;
    ON_CALENDAR "OnCalendar" SettingList 4 4;
    ON_UNIT_ACTIVE_SEC "OnUnitActiveSec" Number 4 4;
    PERSISTENT "Persistent" Bool 4 4;
    RANDOMIZED_DELAY_SEC "RandomizedDelaySec" Number 4 4;
}

keys! { install Install, "Keys of `[Install]`.":
    ALIAS "Alias" SettingList 4 4;
    DEFAULT_INSTANCE "DefaultInstance" Setting 4 4;
    REQUIRED_BY "RequiredBy" SettingList 4 4;
    UPHELD_BY "UpheldBy" SettingList 4 4;
    WANTED_BY "WantedBy" SettingList 4 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_section_only() {
        assert_eq!(Key::find(Section::Container, "Memory"), Some(container::MEMORY));
        assert_eq!(Key::find(Section::Network, "Memory"), None);
        assert_eq!(Key::find(Section::Container, "memory"), None);
    }

    #[test]
    fn no_key_stands_twice_in_a_section() {
        for keys in ALL {
            for key in keys {
                let same = keys.iter().filter(|other| other.name == key.name).count();
                assert_eq!(same, 1, "{} in [{}]", key.name, key.section.name());
            }
        }
    }
}
