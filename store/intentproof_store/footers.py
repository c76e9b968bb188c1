"""Reading the footer of a Parquet file that anybody may have written or damaged. Pure."""

import pyarrow as pa
import pyarrow.parquet as pq


def chunk_of(file: pq.FileMetaData, group: int, column: int) -> pq.ColumnChunkMetaData:
    """What a footer says of a column's values in a row group.

    Raises pa.ArrowInvalid where they are said to be of another type than the column's: asked for
    the statistics of such, Arrow ends the process.
    """
    chunk = file.row_group(group).column(column)
    told = file.schema.column(column).physical_type
    if chunk.physical_type != told:
        raise pa.ArrowInvalid(
            f"row group {group} has {chunk.physical_type} values in the column "
            f"{chunk.path_in_schema}, which is of {told}"
        )
    return chunk
