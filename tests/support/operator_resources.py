"""The part of the operators' resources that deploy/k8s uses, as their CustomResourceDefinitions have it.

For CloudNativePG, its Barman plugin and RabbitMQ's two operators no package carries the definitions: so that a misspelt
field or a wrong word is caught, the fields in use stand here. Whoever uses one more field looks it up and adds it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?([KMGT]i?)?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class _Name(_Strict):
    name: str


class _Key(_Strict):
    name: str
    key: str


class _Resources(_Strict):
    requests: dict[Literal["cpu", "memory"], str]
    limits: dict[Literal["cpu", "memory"], str]


class _Volume(_Strict):
    size: Quantity
    storage_class: str | None = None


class _Synchronous(_Strict):
    method: Literal["any", "first"]
    number: int = Field(ge=1)
    data_durability: Literal["required", "preferred"]
    failover_quorum: bool


class _Postgresql(_Strict):
    synchronous: _Synchronous
    parameters: dict[str, str]


class _InitDb(_Strict):
    database: str
    owner: str


class _Recovery(_InitDb):
    source: str


class _Bootstrap(_Strict):
    initdb: _InitDb | None = None
    recovery: _Recovery | None = None


class _SourcePlugin(_Strict):
    name: str
    parameters: dict[str, str]


class _ExternalCluster(_Strict):
    name: str
    plugin: _SourcePlugin


class _ClusterAffinity(_Strict):
    pod_anti_affinity_type: Literal["preferred", "required"]
    topology_key: str


class _Plugin(_Strict):
    name: str
    is_wal_archiver: bool = Field(alias="isWALArchiver")
    parameters: dict[str, str]


class Cluster(_Strict):
    """postgresql.cnpg.io/v1."""

    instances: int = Field(ge=1)
    image_name: str
    primary_update_strategy: Literal["unsupervised", "supervised"]
    enable_superuser_access: bool
    bootstrap: _Bootstrap
    external_clusters: list[_ExternalCluster] | None = None
    postgresql: _Postgresql
    affinity: _ClusterAffinity
    resources: _Resources
    storage: _Volume
    wal_storage: _Volume
    plugins: list[_Plugin]


class ScheduledBackup(_Strict):
    """postgresql.cnpg.io/v1. The schedule has six fields: seconds come first."""

    schedule: str = Field(pattern=r"^(\S+ ){5}\S+$")
    immediate: bool
    cluster: _Name
    method: Literal["plugin", "volumeSnapshot", "barmanObjectStore"]
    plugin_configuration: _Name


class _S3(_Strict):
    access_key_id: _Key
    secret_access_key: _Key


class _Wal(_Strict):
    compression: Literal["bzip2", "gzip", "lz4", "snappy", "xz", "zstd"]


class _Data(_Strict):
    compression: Literal["bzip2", "gzip", "snappy"]


class _Store(_Strict):
    destination_path: str = Field(min_length=1)
    s3_credentials: _S3
    wal: _Wal
    data: _Data


class ObjectStore(_Strict):
    """barmancloud.cnpg.io/v1."""

    retention_policy: str = Field(pattern=r"^[1-9][0-9]*[dwm]$")
    configuration: _Store


class _Persistence(_Strict):
    storage: Quantity
    storage_class_name: str | None = None


class _Override(_Strict):
    stateful_set: dict[str, Any]  # a StatefulSet of Kubernetes, merged over the operator's


class RabbitmqCluster(_Strict):
    """rabbitmq.com/v1beta1."""

    replicas: int = Field(ge=0)
    image: str
    resources: _Resources
    persistence: _Persistence
    affinity: dict[str, Any]  # a pod's
    override: _Override


class Vhost(_Strict):
    """rabbitmq.com/v1beta1."""

    name: str
    default_queue_type: Literal["quorum", "classic", "stream"]
    rabbitmq_cluster_reference: _Name


class User(_Strict):
    """rabbitmq.com/v1beta1."""

    import_credentials_secret: _Name
    rabbitmq_cluster_reference: _Name


class _Permissions(_Strict):
    configure: str
    write: str
    read: str


class Permission(_Strict):
    """rabbitmq.com/v1beta1."""

    vhost: str
    user_reference: _Name
    permissions: _Permissions
    rabbitmq_cluster_reference: _Name


KINDS: dict[tuple[str, str], type[BaseModel]] = {
    ("postgresql.cnpg.io/v1", "Cluster"): Cluster,
    ("postgresql.cnpg.io/v1", "ScheduledBackup"): ScheduledBackup,
    ("barmancloud.cnpg.io/v1", "ObjectStore"): ObjectStore,
    ("rabbitmq.com/v1beta1", "RabbitmqCluster"): RabbitmqCluster,
    ("rabbitmq.com/v1beta1", "Vhost"): Vhost,
    ("rabbitmq.com/v1beta1", "User"): User,
    ("rabbitmq.com/v1beta1", "Permission"): Permission,
}
